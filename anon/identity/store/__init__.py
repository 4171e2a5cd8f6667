"""Fake identities that stay the same over files and days: what a store holds, how it is searched, sealed and written.

rows        the table: a number, days, a count, the embedding and the fake identity of each person; never a picture
sketches    128 bytes of each embedding, by which an index finds who can be near
nearest     who is nearest to a face: exactly in one product, above 100,000 people by their sketches first
sealed      a user's key made into keys of files, and records that nobody reads or changes without it
whole       the store's file
journal     what came since it was written
file        the store on disk: the file, the journal, a lock
remembering the policy: ITM (algorithm 1) whose memory is a store

The package ``cryptography`` (extra ``store``) is needed for a store on disk, ``faiss-cpu`` (extra ``index``) makes a
large one quick.
"""
