"""Images that show the same: copies that were stored anew, mirrored, cropped or brightened, and neighbouring frames of one scene.

fingerprint   what is remembered of an image: few kilobytes, whatever its size
gathered      those of many images
collisions    which images may be alike: those whose fingerprints have a key in common; the cost grows with the images, not with their pairs
verify        whether two of them are, and how
search        the pairs among many images, and what belongs together by them
taken         the fingerprints of a source's images, where splits are drawn by them
across        the pairs that lie in two splits, and what becomes of them (data.on_leak)
known         the file that tells of them
"""
