"""Why a row cannot be loaded: the fixed vocabulary of quarantine, each reason with what it means.

The first group breaks the file's own format, the second the feed contract. `superseded` rows are not broken: their
offer is loaded from a later row of the same file, so they do not count toward the quarantine limit.
"""

from sortiment.taxonomy import AMBIGUOUS_CATEGORY, UNKNOWN_CATEGORY

TOO_FEW_COLUMNS = "too_few_columns"
TOO_MANY_COLUMNS = "too_many_columns"
UNTERMINATED_QUOTE = "unterminated_quote"
STRAY_QUOTE = "stray_quote"
FIELD_TOO_LONG = "field_too_long"
INVALID_JSON = "invalid_json"
NOT_AN_OBJECT = "not_an_object"
BAD_ENCODING = "bad_encoding"
NUL_BYTE = "nul_byte"

MISSING_OFFER_ID = "missing_offer_id"
MISSING_COUNTRY = "missing_country"
BAD_COUNTRY = "bad_country"
MISSING_TITLE = "missing_title"
EMPTY_TITLE = "empty_title"
TITLE_TOO_LONG = "title_too_long"
BAD_PRICE = "bad_price"
BAD_CURRENCY = "bad_currency"
BAD_DATE = "bad_date"
BAD_WITHDRAWN = "bad_withdrawn"
BAD_GTIN = "bad_gtin"
SUPERSEDED = "superseded"

MEANING: dict[str, str] = {
    TOO_FEW_COLUMNS: "the row has fewer fields than the header",
    TOO_MANY_COLUMNS: "the row has more fields than the header, and they are not empty",
    UNTERMINATED_QUOTE: "a quoted field opens in this line and does not end as one",
    STRAY_QUOTE: "a quote inside a quoted field is not doubled",
    FIELD_TOO_LONG: "a field has more than 131,072 characters",
    INVALID_JSON: "the line is not JSON",
    NOT_AN_OBJECT: "the line is JSON, but not an object",
    BAD_ENCODING: "bytes that are not text in the feed's encoding",
    NUL_BYTE: "a NUL character inside a value",
    MISSING_OFFER_ID: "the offer id is empty",
    MISSING_COUNTRY: "the country is empty",
    BAD_COUNTRY: "not an ISO 3166-1 alpha-2 country",
    MISSING_TITLE: "the title is empty",
    EMPTY_TITLE: "nothing is left of the title after cleaning",
    TITLE_TOO_LONG: "the cleaned title is longer than feeds.title_max_chars",
    BAD_PRICE: "the price is not a number >= 0",
    BAD_CURRENCY: "not an ISO 4217 currency",
    BAD_DATE: "observed_at is not a date between 1990 and 2100",
    BAD_WITHDRAWN: "withdrawn is neither yes nor no",
    BAD_GTIN: "not 8, 12, 13 or 14 digits with their check digit; the value is dropped, the row is loaded",
    UNKNOWN_CATEGORY: "the label is not in the taxonomy",
    AMBIGUOUS_CATEGORY: "the label fits several categories of the taxonomy",
    SUPERSEDED: "a later row of the file has the same country, shop and offer id",
}

# Where most of a file is broken in one way, the spec is more likely wrong than the file.
ADVICE: dict[str, str] = {
    TOO_FEW_COLUMNS: "`delimiter`, `quote` or `skip_lines`",
    TOO_MANY_COLUMNS: '`delimiter`, or `quote: ""` where quotes are plain characters',
    UNTERMINATED_QUOTE: '`quote: ""` where quotes are plain characters, or `escape`',
    STRAY_QUOTE: '`quote: ""` where quotes are plain characters, or `escape` where a backslash stands before them',
    FIELD_TOO_LONG: "`delimiter` or `quote`",
    INVALID_JSON: "`format`; one object per line is `jq -c . FILE`, a list within an object `jq -c '.offers[]' FILE`",
    BAD_ENCODING: "`encoding`, such as cp1252",
    NUL_BYTE: "`encoding`, such as utf-16-le",
    MISSING_OFFER_ID: "`columns: offer_id`; without it the row number is the id",
    MISSING_COUNTRY: "`columns: country`, or `constants: {country: ..}` for all rows",
    BAD_COUNTRY: "`columns: country`, or `constants: {country: ..}` for all rows",
    MISSING_TITLE: "`columns: title`",
    BAD_PRICE: "`columns: price` or `decimal_separator`; `feeds.unreadable_optional: drop` keeps the rows",
    BAD_CURRENCY: "`columns: currency`; `feeds.unreadable_optional: drop` keeps the rows",
    BAD_DATE: '`date_format`, such as "%m/%d/%Y"; `feeds.unreadable_optional: drop` keeps the rows',
    BAD_WITHDRAWN: "`columns: withdrawn`; `feeds.unreadable_optional: drop` keeps the rows",
    UNKNOWN_CATEGORY: "`category_separator`, or the taxonomy",
    AMBIGUOUS_CATEGORY: "`category_separator`, or the taxonomy",
}
