"""Test vectors of every design, for implementations in any language.

item      pictures as numbers, so that no picture code is needed to use a vector
make      vectors of one design, from a seed
refused   files, requests and replies that must be refused
"""
