//! Vector fields, and nearest neighbours within a scope.

/// Largest number of neighbours that valkey-search takes.
const MAX_NEIGHBOURS: u32 = 10_000;

/// Words behind the vector field `VECTOR HNSW|FLAT <count> …` at the start of `words`: 32-bit floats, compared by cosine.
pub(super) fn after_column<'a, 'b>(words: &'b [&'a str]) -> Option<&'b [&'a str]> {
    let (rest, graph) = match words {
        ["VECTOR", "HNSW", "10", rest @ ..] => (rest, true),
        ["VECTOR", "FLAT", "6", rest @ ..] => (rest, false),
        _ => return None,
    };
    let ["TYPE", "FLOAT32", "DIM", dimension, "DISTANCE_METRIC", "COSINE", rest @ ..] = rest else { return None };
    dimension.parse::<u16>().ok().filter(|dimension| *dimension > 0)?;
    match rest {
        ["M", "16", "EF_CONSTRUCTION", "200", rest @ ..] if graph => Some(rest),
        rest => (!graph).then_some(rest),
    }
}

/// Query of the scope in `(<query>)=>[KNN <count> @<field> $v [EF_RUNTIME <effort>] AS _distance]`, with the count; none if the text
/// asks for no neighbours.
pub(super) fn scope(text: &str) -> Option<Result<(&str, u32), String>> {
    let (query, neighbours) = text.split_once("=>")?;
    let fault = || format!("neighbours {neighbours:?}");
    let parse = || {
        let query = query.strip_prefix('(')?.strip_suffix(')')?;
        let words: Vec<&str> = neighbours.strip_prefix("[KNN ")?.strip_suffix(" AS _distance]")?.split(' ').collect();
        let (count, field) = match words[..] {
            [count, field, "$v"] => (count, field),
            [count, field, "$v", "EF_RUNTIME", effort] if effort.parse::<u32>().ok()? >= count.parse().ok()? => {
                (count, field)
            }
            _ => return None,
        };
        let count = count.parse().ok().filter(|count| (1..=MAX_NEIGHBOURS).contains(count))?;
        field.strip_prefix('@').filter(|name| super::is_attribute(name)).map(|_| (query, count))
    };
    Some(parse().ok_or_else(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(text: &str) -> Option<usize> {
        let words: Vec<&str> = text.split(' ').collect();
        after_column(&words).map(<[_]>::len)
    }

    #[test]
    fn vectors_of_one_type_and_distance_pass() {
        let common = "TYPE FLOAT32 DIM 384 DISTANCE_METRIC COSINE";
        assert_eq!(column(&format!("VECTOR HNSW 10 {common} M 16 EF_CONSTRUCTION 200 n0")), Some(1));
        assert_eq!(column(&format!("VECTOR FLAT 6 {common}")), Some(0));
        for text in [
            format!("VECTOR HNSW 6 {common}"),
            format!("VECTOR HNSW 10 {common} M 16"),
            "VECTOR FLAT 6 TYPE FLOAT64 DIM 8 DISTANCE_METRIC COSINE".to_owned(),
            "VECTOR FLAT 6 TYPE FLOAT32 DIM 0 DISTANCE_METRIC COSINE".to_owned(),
            "VECTOR FLAT 6 TYPE FLOAT32 DIM 8 DISTANCE_METRIC L2".to_owned(),
        ] {
            assert_eq!(column(&text), None, "{text}");
        }
    }

    #[test]
    fn neighbours_stand_behind_a_scope() {
        assert_eq!(scope("@_s:{a}"), None);
        assert_eq!(scope("(@_s:{a})=>[KNN 3 @v $v AS _distance]"), Some(Ok(("@_s:{a}", 3))));
        assert_eq!(scope("(@_s:{a})=>[KNN 3 @v $v EF_RUNTIME 64 AS _distance]"), Some(Ok(("@_s:{a}", 3))));
        for text in [
            "*=>[KNN 3 @v $v AS _distance]",
            "(@_s:{a})=>[KNN 0 @v $v AS _distance]",
            "(@_s:{a})=>[KNN 10001 @v $v AS _distance]",
            "(@_s:{a})=>[KNN 3 @v $q AS _distance]",
            "(@_s:{a})=>[KNN 30 @v $v EF_RUNTIME 10 AS _distance]",
            "(@_s:{a})=>[KNN 3 @v $v]",
        ] {
            assert!(matches!(scope(text), Some(Err(_))), "{text}");
        }
    }
}
