"""Pictures and tables: of predictions, of trainings, of metrics. No module here knows a task; what a task draws stands in `tasks/<task>/drawing.py`.

view              any image as 8-bit RGB
truth             truth over its photograph, or one class of it
paint             colours over a photograph: classes, objects, pixels
scale             the size of a panel, and pictures, class ids and masks brought to it
tags              names beside objects and in regions
legend            what the colours mean
sheet             three panels side by side, with title and legend
comparison        truth, prediction and error of one image on a sheet
tables            CSV files, figures of each class as bars
curves            training curves
confusion         a confusion matrix
precision_recall  curves of precision by recall
canvas, fonts     what the others draw on and write with
"""
