"""The plots of a report: what each shows, and how a drawing becomes themed SVG."""
