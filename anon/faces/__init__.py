"""What a face is: the image contract, alignment, data sets, the synthetic faces."""
