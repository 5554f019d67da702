"""Is this line Tatar? Filters for other scripts and for the neighbours in Cyrillic.

A line without ә ө ү җ ң һ is not foreign for that alone: in clean Tatar text one line in
seven has none of them. Russian must show itself by its own words and endings, and must
outweigh what is Tatar in the line.
"""

from __future__ import annotations

import re

# Letters that are neither Cyrillic nor punctuation: where there are none, nothing is counted.
_OTHER_SCRIPT = re.compile(
    "[A-Za-z\u00c0-\u02af\u0370-\u03ff\u0531-\u1c7f\u1e00-\u1fff"
    "\u2c00-\u2ddf\u3040-\ua63f\ua6a0-\ud7ff\uf900-\ufdff\uff21-\uffdc]"
)
_CYRILLIC = re.compile("[\u0400-\u04ff]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f\u0259\u1e00-\u1eff]")

# Cyrillic letters outside the Tatar alphabet.
_FOREIGN_LETTER = re.compile(
    "[\u0400\u0402-\u040f\u0450\u0452-\u0495\u0498-\u04a1\u04a4-\u04ad\u04b0-\u04b9"
    "\u04bc-\u04d7\u04da-\u04e7\u04ea-\u04ff]"
)
_BASHKIR = re.compile("[ҙҘҡҠҫҪ]")
_KAZAKH = re.compile("[қҚұҰіІ]")
_ROMAN_NUMERAL = re.compile("[ІVXХLСCDМM]+")
# A name or a quotation in another language may stand in a Tatar sentence.
MAX_FOREIGN_WORDS = 0.2

_WORD = re.compile(r"[^\W\d_]+")
_TATAR_LETTER = re.compile("[әөүҗңһӘӨҮҖҢҺ]")
# Russian with a Tatar name in it stays under this share of Tatar letters; Tatar averages 12 %.
SURELY_TATAR = 0.08


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _any_of(patterns: str) -> str:
    return "(?:" + "|".join(patterns.split()) + ")"


# Russian words that are no Tatar words. Left out: а, да, и, ни, без, бит, кем, мы, так, тот and
# others that are spelled alike in Tatar.
_RUSSIAN_WORDS = _words(
    """
    в во на с со к ко по из изо от ото у о об обо за для до при про над под подо через между перед
    после около возле кроме против среди вместо ради благодаря согласно вокруг вдоль
    не нет ли же бы ведь лишь только даже уже ещё еще разве пусть
    что чтобы как когда если хотя потому поэтому или либо зато однако тоже также итак чем
    где куда откуда почему зачем сколько там здесь туда сюда оттуда отсюда тогда теперь сейчас
    сегодня завтра вчера всегда никогда иногда часто редко скоро давно потом сначала опять снова
    я ты он она оно вы они меня мне мной тебя тебе тобой его ему нём нем ней нею её ее ей них ним
    ими нас нам нами вас вам вами их им себя себе собой
    мой моя моё мое мои моего моей моих твой твоя твои твоей наш наша наше наши нашего нашей наших
    ваш ваша ваше ваши вашего вашей свой своя своё свое свои своего своей своих своим своими
    это этот эта эти этого этой этом этому этим этих то те того той том тому тем тех
    весь вся всё все всего всей всем всех всеми сам сама само сами самый самая самое самого
    кто кого кому чего чему какой какая какое какие каких каким который которая которое которые
    которого которой которых котором которым которую каждый каждая каждое каждого каждой
    другой другая другие других один одна одно одни одного одной два две три четыре пять шесть семь
    восемь девять десять сто тысяча тысяч много мало несколько больше меньше очень более менее
    был была было были быть будет будут будем буду есть является являются стал стала стали стало
    может могут можно нужно надо нельзя должен должна должны хочу хочет хотят могу
    год года году годы лет день дня дней время времени раз раза человек люди людей
    """
)
# Endings of Russian inflexion. Left out are those that Tatar has too (-ла, -ли, -ат, -ный and
# -ным after most letters, -ем, -ган) and those of surnames.
_RUSSIAN_ENDING = re.compile(
    ".+"
    + _any_of(
        """
        [оеё]го [оеё]му [нктвжшщчдлс][ое]е [нктвжшщчдлс][ая]я [нктвжшщчдлгс][ыи]е
        [нктвжшщчс][ую]ю [нтксв]ой [нщчшж]ей [еиоаё]нный [лтвсдчшк]ный [еоа]вый ский
        [нктвжшщчлдсг][ыи]х (?:ль|ст|ч|[еио]н|[еи]т|ов|р)ным [жшщч]им [дс][нк]им
        ск[оуи][йюегм] ск[иа][хея] ского скому
        [ая]ми [ыи]ми [тнлкврсд]ях ях [тнлкврсд]ах ости остью ств[оау] ством
        ени[еюяий] ани[ею] [ая]нии ..ии ..ию ци[июей]{1,2} [лмрн]ье
        ться тся [аеиуыоя]сь л[аио]сь лся [еиуа]ть [^аея]ть [жшчщ]ь сь [аеиоуыя]ло
        [аеиоуя]ют [аеу]ет [еая]нн[ао] [аеиоуыя]вш[а-я]{1,3} [ую]щ[а-я]{2,3}
        """
    )
)
# Weaker signs, which loans in Tatar show as well: two of them count as one word.
_RUSSIAN_HINT = re.compile(
    _any_of(
        """
        и а
        (?:вз|вс|вн|вп|вк|вр|вл|гд|гл|гр|гн|дл|др|дв|жд|зв|зд|зл|зн|кн|кр|кл|мн|мл|пл|пр|пт|св).*
        (?:сд|сж|сз|ск|сл|см|сн|сп|ср|ст|сх|сч|тв|тр|хв|хл|хр|цв|чт|шк|шл|шт).*
        (?:по|под|пере|рас|раз|от|об|вы|до|за|на)[бвгджзклмнпрстхчшщ].{4,}
        .*[щёц].* .*(?:сч|здн|вств|жн|жд|зж|ль[знс]|нь[шк]|рь).* .+[аеёиоуыэюя].*о.*
        .{2,}(?:[аеиыя]л|[аеиыуя]ли|[аеия]ла|[кг]и|[оеё]в|[кнстрл]ом|[лнрт]ей|[а-я]ей|[дзмнрст]ок)
        .{2,}(?:ыва[а-я]+|о[тд]а[а-я]+|ец|[аеи]тель|[бвджлмнпрстчшщ][ия]т|[влнрмйдзжбг]ка)
        """
    )
)

# Signs of Tatar beside its six letters: sounds in an order that Russian does not have, suffixes
# of two syllables, the commonest words.
_TATAR_SIGN = re.compile(
    _any_of(
        """
        [әөүҗңһ] [кгхжшч]ы [кг]ъ уы (?<!в)ый[б-дж-зк-нп-тф-щ] ^й[оеы] ^э[шк]е?[кл]
        .(?:лар|[мн]нар)(?:ы|ын|ыбыз|да|дан|га|ында|ына|ыннан|дыр)?$
        .(?:ыннан|еннан|нан|ында|ына|[ыеа]рга|[аяы]чак|[ые]быз|[ыеа]сыз|[ылнрт]гыз|дыр|ынчы)$
        .(?:[лмнртсд]ык|ы[пш]|[лнртк]еп|дагы|тагы|мыш|ыйм|масын?|маган|[аы]ган|лы[кг]|ларак)$
        .(?:мады|[бйнрт]лады|ырады|рдан|лдан|йдан|[шкптчх]тан|[иыя]с[ые]н?|[ыа]лмас|[аы]мын)$
        """
    )
)
_TATAR_WORDS = _words(
    """
    бу ул бер юк иде идек идем идең дип ди диде алар шул шулар инде ук булып булган булды була
    булса булыр булырга бик кебек тик кеше кешеләр аны анда шунда монда мондый шундый барлык итеп
    итте итә ике алты биш ун эш эше эшли ел елда елны ай кич тагын кына гына барысы икенче беренче
    буенча турында артык ата ана бала авыл кайда кайчан нинди ничек алай болай шулай бар син мин
    минем синем безгә сезгә аннан моннан шуннан соң элек хәзер бүген белән өчен кадәр белэн очен
    хэм кирэк эмма лэкин шуна анын монын килде китте бара барып алып килеп биреп кереп чыга чыкты
    яши яшь тора торган безне сезне безнен булмый булмас дигэн зур кара ак якын яхшы матур
    """
)


def foreign_language(text: str, letters: int) -> str:
    """The filter that a line of `letters` letters falls to, or "" for Tatar (or undecided)."""
    if _OTHER_SCRIPT.search(text) and 2 * len(_CYRILLIC.findall(text)) < letters:
        latin = len(_LATIN.findall(text))
        return "Latin script" if 2 * latin > letters else "other script"
    if _FOREIGN_LETTER.search(text) and (reason := _neighbour(text)):
        return reason
    if len(_TATAR_LETTER.findall(text)) < SURELY_TATAR * letters and is_russian(text):
        return "Russian"
    return ""


def _neighbour(text: str) -> str:
    """Bashkir, Kazakh or another language whose alphabet has letters that Tatar lacks."""
    words = _WORD.findall(text)
    foreign = [w for w in words if _FOREIGN_LETTER.search(w) and not _ROMAN_NUMERAL.fullmatch(w)]
    if len(foreign) <= MAX_FOREIGN_WORDS * len(words):
        return ""
    joined = "".join(foreign)
    bashkir, kazakh = len(_BASHKIR.findall(joined)), len(_KAZAKH.findall(joined))
    if not bashkir and not kazakh:
        # Some authors write Arabic sounds with letters of their own (ґәзаб).
        own_spelling = len(_TATAR_LETTER.findall(text)) >= SURELY_TATAR * sum(map(len, words))
        return "" if own_spelling else "other Cyrillic"
    return "Bashkir" if bashkir >= kazakh else "Kazakh"


def is_russian(text: str) -> bool:
    """Whether the Russian words of a line outweigh the Tatar ones."""
    russian = tatar = 0
    for word in _WORD.findall(text):
        if len(word) == 1 and word.isupper():
            continue  # an initial
        word = word.lower()
        if word in _TATAR_WORDS or _TATAR_SIGN.search(word):
            tatar += 1
        elif word in _RUSSIAN_WORDS or _RUSSIAN_ENDING.fullmatch(word):
            russian += 2
        elif _RUSSIAN_HINT.fullmatch(word):
            russian += 1
    return russian > max(4 * tatar, 1)
