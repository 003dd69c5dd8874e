"""Reports: one Markdown page with tables and plots from result files."""

from bench.report.writing import check_report_folder, make_sections, write_report

__all__ = ["check_report_folder", "make_sections", "write_report"]
