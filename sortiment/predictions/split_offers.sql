-- One row per live offer, spread over shards so that equal titles of a country meet in one shard.
-- Parameters: $parts = list of Parquet files, oldest first; $shards = number of shards.
-- The latest version of an offer wins: the last part that has it, and its last row there. A withdrawn offer is gone.
-- md5, not hash(): the shard of a title must not change with DuckDB's version, or a resumed run would mix two splits.
WITH numbered AS (
    SELECT $parts[number] AS file, number
    FROM range(1, len($parts) + 1) AS places(number)
), versions AS (
    SELECT offers.*, (numbered.number << 40) | offers.source_row AS age
    FROM read_parquet($parts, filename = true, union_by_name = true) AS offers
    JOIN numbered ON numbered.file = offers.filename
), latest AS (
    SELECT offer_key, max(age) AS age
    FROM versions
    GROUP BY offer_key
)
SELECT
    versions.offer_key, versions.country, versions.shop_id, versions.feed, versions.category_id,
    versions.title, versions.brand, versions.shop_category, versions.description,
    (md5_number_lower(concat_ws(chr(31), versions.country, versions.title)) % $shards)::INTEGER AS shard
FROM versions
JOIN latest USING (offer_key, age)
WHERE NOT coalesce(versions.withdrawn, false)
