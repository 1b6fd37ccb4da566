"""Who may follow whom: gates before `staging` and `production`, the history of both, and the way back.

gates     what params.yaml asks of a version (light: params.yaml is read with it)
measure   a version's counts on the scored split, kept by content
compare   candidate and incumbent on the images that neither has learnt from
checks    each gate with the figure that answered
promote   a version gets an alias when all gates hold
history   who held an alias, and the way back
"""
