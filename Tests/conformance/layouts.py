"""The layout options of zerofs for a case of cases.json."""


def options(case: dict) -> list[str]:
    words = ["--tp", case["tp"], "--pp", case["pp"], "--dp", case["dp"],
             "--zero-stage", case["zero"], "--dtype", case["dtype"]]
    if case.get("no_pipe"):
        words.append("--no-pipeline-parallel")
    if "pad" in case:
        words += ["--vocab-padding", case["pad"]]
    if "iteration" in case:
        words += ["--iteration", case["iteration"]]
    return list(map(str, words))
