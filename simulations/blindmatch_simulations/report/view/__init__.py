"""The view model of the report: all that its page says and draws, as JSON that Python computes.

    schema      its records; the JSON Schema is made from them
    ledger      evidence by key, and sentences whose numbers each name one
    holdings    what each party holds of an innocent picture, from what a design declares
    found       of 100 known files sent; recall by edit
    flagged     innocent pictures that match: what was seen, what it excludes, where half of all are wrong
    costs       of a phone, of its data and of servers, at the EU's volume
    abuse       played attacks by actor; what opens a list
    cards       a card for each design
    findings    the three that open the page
    whole       all of these together

Whatever draws it computes nothing but what a reader moves by hand.
"""
