"""The screens: what an operator looks at."""
