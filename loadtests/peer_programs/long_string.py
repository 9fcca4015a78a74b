title = "Report"
print(title)
report = """
Line 01 of the report: station 7, reading 1.5.
Line 02 of the report: station 1, reading 3.0.
Line 03 of the report: station 8, reading 4.5.
Line 04 of the report: station 2, reading 6.0.
Line 05 of the report: station 9, reading 7.5.
Line 06 of the report: station 3, reading 9.0.
Line 07 of the report: station 10, reading 10.5.
Line 08 of the report: station 4, reading 12.0.
Line 09 of the report: station 11, reading 13.5.
Line 10 of the report: station 5, reading 15.0.
Line 11 of the report: station 12, reading 16.5.
Line 12 of the report: station 6, reading 18.0.
Line 13 of the report: station 0, reading 19.5.
Line 14 of the report: station 7, reading 21.0.
Line 15 of the report: station 1, reading 22.5.
Line 16 of the report: station 8, reading 24.0.
Line 17 of the report: station 2, reading 25.5.
Line 18 of the report: station 9, reading 27.0.
Line 19 of the report: station 3, reading 28.5.
Line 20 of the report: station 10, reading 30.0.
Line 21 of the report: station 4, reading 31.5.
Line 22 of the report: station 11, reading 33.0.
Line 23 of the report: station 5, reading 34.5.
Line 24 of the report: station 12, reading 36.0.
Line 25 of the report: station 6, reading 37.5.
Line 26 of the report: station 0, reading 39.0.
Line 27 of the report: station 7, reading 40.5.
Line 28 of the report: station 1, reading 42.0.
Line 29 of the report: station 8, reading 43.5.
Line 30 of the report: station 2, reading 45.0.
Line 31 of the report: station 9, reading 46.5.
Line 32 of the report: station 3, reading 48.0.
Line 33 of the report: station 10, reading 49.5.
Line 34 of the report: station 4, reading 51.0.
Line 35 of the report: station 11, reading 52.5.
Line 36 of the report: station 5, reading 54.0.
Line 37 of the report: station 12, reading 55.5.
Line 38 of the report: station 6, reading 57.0.
Line 39 of the report: station 0, reading 58.5.
Line 40 of the report: station 7, reading 60.0.
Line 41 of the report: station 1, reading 61.5.
Line 42 of the report: station 8, reading 63.0.
Line 43 of the report: station 2, reading 64.5.
Line 44 of the report: station 9, reading 66.0.
Line 45 of the report: station 3, reading 67.5.
Line 46 of the report: station 10, reading 69.0.
Line 47 of the report: station 4, reading 70.5.
Line 48 of the report: station 11, reading 72.0.
Line 49 of the report: station 5, reading 73.5.
Line 50 of the report: station 12, reading 75.0.
Line 51 of the report: station 6, reading 76.5.
Line 52 of the report: station 0, reading 78.0.
Line 53 of the report: station 7, reading 79.5.
Line 54 of the report: station 1, reading 81.0.
Line 55 of the report: station 8, reading 82.5.
Line 56 of the report: station 2, reading 84.0.
Line 57 of the report: station 9, reading 85.5.
Line 58 of the report: station 3, reading 87.0.
Line 59 of the report: station 10, reading 88.5.
Line 60 of the report: station 4, reading 90.0.
"""
print(len(report))
print(report.count("station"))
