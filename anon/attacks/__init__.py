"""What an adversary does with changed faces, to link them to the people that they were.

An attack is four hooks around the judge, each the identity unless it says otherwise:

* ``images(changed)``: the changed pictures, before they are embedded;
* ``probe(z)``: their embeddings, before they are compared;
* ``gallery(images)``: the adversary's pictures of known people, before they are enrolled;
* ``judge(encoder)``: the recognizer itself.

An attack never sees keys, codes or the policy: it knows how an anonymizer works and may call it as anyone can.
"""
