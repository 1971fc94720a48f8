"""Draws an assessment: two pages, each one file that needs nothing else, and figures as SVG."""

from blindmatch_simulations.report.briefing import draw_briefing
from blindmatch_simulations.report.page import draw_report
from blindmatch_simulations.report.page_of_view import draw_findings, write_sheet
from blindmatch_simulations.report.printing import print_page
from blindmatch_simulations.report.view.whole import view_of
