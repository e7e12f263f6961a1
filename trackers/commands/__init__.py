"""The verbs of the ``onlinetada`` command, one module each: ``add_arguments(parser)`` and ``run(args)``."""
