"""Labels that a trained model contradicts: which to look at first.

rank      a model over splits → images and objects, the most suspicious first
write     suspects.json and a page with pictures
"""
