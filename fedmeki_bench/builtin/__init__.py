"""The built-in plug-ins: ``baselines`` (rules, stages, rows), ``tasks`` and ``data_prep`` (datasets).

Nothing imports them by name: they are found through entry points, like anybody's. In the repository their folders stand
at the top, where people look for them; a wheel carries them in here. So a checkout looks there as well, and no other
package of the names ``baselines``, ``tasks`` or ``data_prep`` can stand in their way.
"""

from pathlib import Path

if not Path(__file__).with_name("tasks").is_dir():
    __path__.append(str(Path(__file__).parents[2]))
