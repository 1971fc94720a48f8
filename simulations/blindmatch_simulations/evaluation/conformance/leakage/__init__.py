"""What a design leaks, measured: pairs that agree on every declared fact, told apart or not.

play             what is declared to a coalition; pairs of sequences of pictures, worst cases first; runs a
                 sequence with honest or cheating roles; what each party sees of it
game             what is looked at in a view, and what an adversary works out beforehand for each picture it
                 guesses; learns on one half of the training runs, chooses on the other, measures on the
                 held-out ones
games            where games are played, and on which pictures; those of a design, for every coalition and
                 adversary; its own simulator against real views
lists            pairs of lists
list_secrecy     every entry looked for in what devices get, and in what is stored; games over lists
timing           CPU times of steps, as figures
relations        sums of bits of what is sent that never change for a picture, and change with it
tightness        is every declared fact really disclosed?
"""
