"""What people look at after a source was read: a page of its own (check.html) and a sheet of images with their truth (samples.png).

pictures   images with their truth, drawn small
samples    which images are shown
charts     bars and points as SVG
page       the page, which needs no other file
write      both files
"""
