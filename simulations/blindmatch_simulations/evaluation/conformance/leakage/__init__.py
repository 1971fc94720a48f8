"""What a design leaks, measured: pairs that agree on every declared fact, told apart or not.

facts            what is declared to a coalition; pairs of sequences of pictures, worst cases first
game_setup       where games are played: parameters, roles, pictures; those that are almost found, or found in
                 vain, and the entries that make them so
play             runs a sequence with honest or cheating roles; what each party sees of it
knowledge        what an adversary works out beforehand for each picture it guesses
game             what is looked at in a view; learns on one half of the training runs, chooses on the other,
                 measures on held-out ones
games            the games of a design: every coalition and adversary; its own simulator against real views
lists            pairs of lists; list_view: what a device sees of one
list_secrecy     every entry looked for in what devices get, and in what is stored; games over lists
timing           CPU times of steps, as figures
relations        sums of bits of what is sent that never change for a picture, and change with it
tightness        is every declared fact really disclosed?
"""
