-- The predictions of one side with what drift looks at, one row per offer, at most $cap offers per slice.
-- Placeholders in braces are replaced by constants of sides.py, never by data.
-- Parameters: $predictions, $offers = lists of Parquet files; $cap.
-- Which offers are left out above the cap: those with the larger offer_key, a hash, so it is a random sample.
WITH places AS (
    SELECT $offers[number] AS file, number
    FROM range(1, len($offers) + 1) AS numbers(number)
), versions AS (
    SELECT
        offers.offer_key, offers.title, offers.department, {split} AS split, {weight} AS weight,
        row_number() OVER (PARTITION BY offers.offer_key ORDER BY places.number DESC, offers.file_row_number DESC) AS age
    FROM read_parquet($offers, union_by_name = true, filename = true, file_row_number = true) AS offers
    JOIN places ON places.file = offers.filename
), joined AS (
    SELECT
        answers.country, {slice} AS department, answers.offer_key, versions.title, versions.weight,
        answers.category_id, answers.predicted_id, answers.confidence, answers.top_margin
    FROM read_parquet($predictions, union_by_name = true) AS answers
    JOIN versions USING (offer_key)
    WHERE versions.age = 1 AND answers.predicted_id IS NOT NULL AND {chosen}
)
SELECT *, count(*) OVER (PARTITION BY country, department) AS slice_offers
FROM joined
WHERE department IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY country, department ORDER BY offer_key) <= $cap
