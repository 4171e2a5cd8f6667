"""Cloaks: small changes of a picture that recognizers take for another person and people hardly see.

    python evaluate.py suite=cloaks

    pgd, mi_fgsm, ti_dim   steps up the gradient of the distance, of one picture
    tip_im                 the same, towards other people
    fawkes                 a shift in feature space, bounded by how the picture looks
    universal, person      one mask for everybody, or one for each person, fitted on other pictures
    control                random signs of the same size

What they hide, they hide from recognizers; :mod:`anon.evaluation.measures.purified` undoes what it can.
"""
