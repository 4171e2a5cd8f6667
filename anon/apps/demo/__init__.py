"""``anon demo``: a page on this machine where a picture is anonymized, judged and attacked. It keeps nothing."""
