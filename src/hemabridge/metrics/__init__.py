"""Measures and statistics: pure functions of arrays, without PyTorch.

Of classifiers (`classification`, `confidence`, `soft_agreement`), of re-stained images (`closeness`,
`restaining_faults`), of distributions (`kernel_distance`, `wasserstein`), of human readers (`reader_statistics`), and
the intervals and tests for all of them (`statistics`, `resampling`).
"""
