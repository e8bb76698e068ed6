import importlib.util

collect_ignore = [] if importlib.util.find_spec("viser") else ["test_page.py", "test_server.py"]
