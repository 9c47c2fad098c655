-- Offers with their words: how many different ones a title has, and how many of these the reference does not know.
-- `words_of` is a macro of sides.py. `vocabulary` holds the words of the country's reference titles; a word that only
-- `least` - 1 of its titles have counts as unknown, so that an offer of the reference itself does not vouch for itself.
-- Placeholder {side}: the table of one side. Parameter: $least.
WITH words AS (
    SELECT offer_key, country, unnest(words_of(title)) AS word
    FROM {side}
), counted AS (
    SELECT words.offer_key, count(*) AS words, count(*) FILTER (coalesce(vocabulary.titles, 0) < $least) AS novel
    FROM words
    LEFT JOIN vocabulary USING (country, word)
    GROUP BY words.offer_key
)
SELECT
    side.country, side.department, side.offer_key, hash(lower(side.title)) AS title_key, side.weight,
    side.category_id, side.predicted_id, side.confidence, side.top_margin, side.slice_offers,
    length(side.title) AS length, coalesce(counted.words, 0) AS words, coalesce(counted.novel, 0) AS novel
FROM {side} AS side
LEFT JOIN counted USING (offer_key)
ORDER BY side.country, side.department, side.offer_key
