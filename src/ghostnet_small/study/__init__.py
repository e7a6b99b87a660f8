"""Many runs: a study's plan, its scheduler, and the engines that run it."""
