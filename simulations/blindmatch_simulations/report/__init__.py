"""Draws an assessment: one self-contained page, figures as SVG."""

from blindmatch_simulations.report.briefing import draw_briefing
from blindmatch_simulations.report.page import draw_report, print_sheet
from blindmatch_simulations.report.view.whole import view_of
