"""The centre: takes sealed reports, checks each of them, and shows them to its operators."""
