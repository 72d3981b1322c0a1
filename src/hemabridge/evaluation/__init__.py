"""The evaluation of classifiers across sites: predictions, scores, tests, the leaderboard, and results as frozen data.

`predictions` holds the predictions for each cell. `rows`, `comparisons`, `leaderboard` and `labels_saved` compute from
them what `results.StudyResults` holds. `reading` holds the results of a blinded reading.
"""
