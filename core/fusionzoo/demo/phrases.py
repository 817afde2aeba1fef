"""The sentences of the demo: what buyers and sellers write, by intent. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

# The patterns of an intent are its openings (before the ;) times its endings.
_PHRASES: Mapping[str, str] = {
    "late": "I am sorry to say that|It is {day} now and|The app says it was shipped, but|Even after {days} days|"
    "I asked {friend} next door as well:|We were at home all week, yet;my {product} has not arrived|"
    "the parcel with the {product} never came|nothing was delivered to us in {city}|the {product} was lost in transit|"
    "the courier has not delivered the {product}|the tracking page has not moved since {city}",
    "broken": "I opened the box on {day} and|After {days} days of use|When {friend} tried it at home,|To my surprise|"
    "Unlike in your photos,|I tested it twice:;the {product} is broken|the {product} is defective and does nothing|"
    "there is a crack in the {product}|the {product} stopped working|a part of the {product} is damaged|"
    "the {product} turned out to be faulty",
    "wrong": "I unpacked it on {day} and|Compared with the invoice,|Somebody mixed up the labels:|It looks as if|"
    "I am afraid that|{friend} noticed first that;you sent me the wrong {product}|the size does not match my order|"
    "this is a different model from the one in the listing|the colour is not the one that I ordered|"
    "I got somebody else's {product}|the {product} is another variant",
    "minor": "All in all it is fine, but|Nothing serious:|It works well, only|A small remark from {city}:|"
    "We use it since {day} and|{friend} likes it, although;there is a tiny scratch on the {product}|"
    "the box of the {product} was slightly dented|the sticker on the {product} is a little crooked|"
    "the manual is in another language|the {product} has a faint mark near the edge|the shade is paler than expected",
    "refund": "I want|I would like|I am asking for|What I need is|I am waiting for|All I expect is;a full refund|"
    "a refund of {amount}|my money back|a refund to my card by {day}|a refund for the {product}|"
    "reimbursement of {amount}",
    "exchange": "Could you send me|I would prefer|Please ship|I would be happy with|Is it possible to get|"
    "I can wait for;a replacement|another {product}|a new one in exchange|the same {product} again|a spare part for it|"
    "a replacement by {day}",
    "question": "Could you tell me|Please let me know|I am just wondering|Can you check|I only want to know|"
    "It would help to hear;what happens next|when somebody can look into this|which department handles this|"
    "whether you need photos of the {product}|how many days this takes|where I can see the status",
    "threat": "If I hear nothing by {day},|Without an answer|If this is not settled in {days} days,|Otherwise|"
    "One more excuse and|I have waited enough, so;I will open a claim|I will ask my bank for a chargeback|"
    "I will report you to the marketplace|my lawyer will contact you|I will dispute the payment|"
    "I will file a complaint with consumer protection",
    "anger": "Frankly,|I have to say that|Honestly,|Once again:|I told {agent} already that|Let me be clear:;"
    "this is unacceptable|your service is terrible|I am furious|you are wasting my time|"
    "this is a ridiculous way to treat a customer|I am angry and very disappointed",
    "thanks": "As always,|In any case,|No hurry,|By the way,|Whatever comes of it,|Meanwhile,;"
    "thank you for your kind help|I appreciate your efforts|thanks a lot for looking into it|"
    "I am sure that we find a friendly solution|I am grateful for your quick reply|have a lovely {day}",
    "helps": "Of course,|We apologise, and|After a look at order {order},|Good news:|{agent} from our team agrees:|"
    "As a gesture of goodwill;we will make this right today|we offer you a voucher of {amount}|"
    "a prepaid label is on its way to you|our warehouse will solve this by {day}|we gladly cover all costs|"
    "we welcome your return",
    "refuses": "Unfortunately,|According to our policy|We asked the warehouse and|As stated in the listing,|"
    "Our records are clear:|{agent} from our team has decided:;we cannot accept this|we reject your claim|"
    "no compensation is possible|the seller is not responsible|the warranty does not apply|we must decline",
    "buyer_note": "For reference,|As mentioned,|To add to this:|Just to confirm,|Once more,;my order number is {order}|"
    "I live in {city}|I wrote to {agent} on {day}|the address on the parcel is correct|I paid {amount} in total",
    "seller_note": "At the moment|Just a short note:|For your information,|As you asked:|Today, {day},;"
    "we are reading your message|we are looking at order {order}|{agent} is at the desk|our office opens at nine|"
    "we are waiting for a colleague",
}


def _combine(phrases: str) -> tuple[str, ...]:
    """Return every opening of an intent with each of its endings, as sentence patterns."""
    openings, endings = (part.split("|") for part in phrases.split(";"))
    return tuple(
        f"{opening} {ending}{'?' if opening.startswith(('Could', 'Can', 'Is')) else '.'}"
        for opening, ending in product(openings, endings)
    )


PATTERNS: Mapping[str, tuple[str, ...]] = {intent: _combine(phrases) for intent, phrases in _PHRASES.items()}
"""Sentence patterns by intent; a name in braces is a slot."""

# By speaker: the buyer, then the seller.
GREETINGS = (("", "", "Hi! ", "Hello {agent}. ", "Good morning. ", "Dear seller! "), ("", "Hello {buyer}. ", "Hi! "))
CLOSINGS = (("", "", "", " Regards, {buyer}", " {buyer} from {city}"), ("", "", " Best wishes, {agent}", " {agent}"))
EMOJI: Mapping[str, str] = {"anger": "😡", "threat": "⚠️", "thanks": "🙏", "late": "📦", "broken": "😕", "helps": "🙂"}
_FIRST_NAMES = "Anna Ben Chloe Daniel Emeka Fatima Goran Hana Ivan Julia Kofi Lena Mia Noor Omar Priya Sven"
SLOTS: Mapping[str, str] = {
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "days": "two three four five six 8 9 10 12",
    **dict.fromkeys(("buyer", "agent", "friend"), _FIRST_NAMES),
    "city": "Leeds Lyon Bremen Porto Austin Denver Turin Osaka Gdansk Malmo Utrecht Boston Cork Graz",
}
