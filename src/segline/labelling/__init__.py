"""Images without labels: which to label next, so that a model learns most by few.

scores     how much one image is worth, by name
spread     an order that does not take ten neighbours of one film
source     the images of a folder or of a list, without those that are labelled already
rank       a model over them → the images in the order in which to label them
write      next.json, next.csv and a page with pictures
copy       the first of them, copied for the annotation tool
"""
