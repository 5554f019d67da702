"""Every word of the page, in Tatar, Russian and English."""

from __future__ import annotations

from typing import NamedTuple

LANGUAGES = {"tt": "Татарча", "ru": "Русский", "en": "English"}


class Text(NamedTuple):
    """One thing to say; `{names}` are filled in."""

    tt: str
    ru: str
    en: str


TEXTS = {
    # ---------------------------------------------------------------- the whole page
    "title": Text("Татар GPT", "Татар GPT", "Tatar GPT"),
    "intro": Text(
        "Бу модель сез башлаган текстны дәвам итә. Ул әңгәмәдәш түгел: сорауларга җавап бирми, "
        "язганнары да дөрес булмаска мөмкин.",
        "Эта модель продолжает текст, который вы начали. Она не собеседник: на вопросы не "
        "отвечает, и то, что она пишет, может быть неправдой.",
        "This model continues a text that you begin. It is not a chat partner: it does not answer "
        "questions, and what it writes may be untrue.",
    ),
    "language": Text("Тел", "Язык", "Language"),
    "tab_write": Text("Язу", "Писать", "Write"),
    "tab_compare": Text("Чагыштыру", "Сравнить", "Compare"),
    "tab_inside": Text("Эченә карау", "Заглянуть внутрь", "Look inside"),
    "tab_measure": Text("Үлчәү", "Измерить", "Measure"),
    "tab_about": Text("Модель турында", "О модели", "About"),
    "on_sample": Text(
        "Модель проектның үз кечкенә корпусы нигезендә өйрәтелгән: ул көндәлек тормыш һәм "
        "Татарстан турындагы кыска җөмләләрне генә белә.",
        "Модель обучена на маленьком встроенном корпусе: она знает только короткие предложения о "
        "повседневной жизни и о Татарстане.",
        "The model was trained on the small built-in corpus: it knows only short sentences about "
        "everyday life and Tatarstan.",
    ),
    "sample": Text("проектның үз корпусы", "встроенный корпус", "built-in corpus"),
    "replaced": Text(
        "Модельнең яңа файлы бар.",
        "Файл модели обновился.",
        "There is a new model file.",
    ),
    "reload": Text("Яңа модельне ачу", "Открыть новую модель", "Open the new model"),
    "reloaded": Text("Яңа модель ачылды.", "Новая модель открыта.", "The new model is open."),
    "not_reloaded": Text(
        "Яңа модельне ачып булмады; элеккесе эшли.",
        "Новую модель открыть не удалось; работает прежняя.",
        "The new model could not be opened; the old one is still in use.",
    ),
    # ---------------------------------------------------------------- writing
    "prompt": Text("Текстның башы", "Начало текста", "Beginning of the text"),
    "prompt_hint": Text(
        "Берничә сүз языгыз, мәсәлән: Казан шәһәре",
        "Напишите несколько слов, например: Казан шәһәре",
        "Write a few words, for instance: Казан шәһәре",
    ),
    "prompt_info": Text(
        "Ctrl+Enter: дәвам итү", "Ctrl+Enter: продолжить", "Ctrl+Enter: continue"
    ),
    "examples": Text("Мисаллар", "Примеры", "Examples"),
    "continue": Text("Дәвам итү", "Продолжить", "Continue"),
    "stop": Text("Туктату", "Остановить", "Stop"),
    "again": Text("Башка вариант", "Другой вариант", "Another one"),
    "text": Text("Текст", "Текст", "Text"),
    "text_hint": Text(
        "Модель язган текст монда күренәчәк.",
        "Здесь появится то, что напишет модель.",
        "What the model writes will appear here.",
    ),
    "copy": Text("Күчереп алу", "Скопировать", "Copy"),
    "copied": Text("Текст күчереп алынды.", "Текст скопирован.", "Text copied."),
    "from_here": Text("Моннан дәвам итү", "Продолжить отсюда", "Continue from here"),
    "download": Text(".txt итеп саклау", "Сохранить как .txt", "Save as .txt"),
    "until": Text("Кайда туктарга", "Где остановиться", "Where to stop"),
    "one_sentence": Text("Җөмлә ахырында", "В конце предложения", "At the end of the sentence"),
    "go_on": Text("Язуын дәвам итсен", "Пусть пишет дальше", "Keep writing"),
    "style": Text("Ничек язарга", "Как писать", "How to write"),
    "careful": Text("Саграк", "Осторожнее", "Carefully"),
    "balanced": Text("Уртача", "Умеренно", "Moderately"),
    "bold": Text("Кыюрак", "Смелее", "Boldly"),
    "settings": Text("Өстәмә көйләүләр", "Дополнительные настройки", "Advanced settings"),
    "temperature": Text("Температура", "Температура", "Temperature"),
    "temperature_info": Text(
        "0 — һәрвакыт иң ихтимал токен; зуррак сан — кыюрак текст",
        "0 — всегда самый вероятный токен; больше — смелее",
        "0 always takes the likeliest token; more is bolder",
    ),
    "min_p": Text("Min-p", "Min-p", "Min-p"),
    "min_p_info": Text(
        "Ихтималлыгы иң зур ихтималлыкның шушы өлешеннән ким булган токеннар төшереп "
        "калдырыла",
        "Отбрасывает токены, вероятность которых меньше этой доли наибольшей вероятности",
        "Leaves out tokens whose probability is below this share of the highest",
    ),
    "top_p": Text("Top-p", "Top-p", "Top-p"),
    "top_p_info": Text(
        "Ихтималлыклары суммасы шушы санга җиткән иң ихтимал токеннар арасыннан сайлый",
        "Выбирает среди самых вероятных токенов, вместе набирающих эту вероятность",
        "Chooses among the likeliest tokens that together have this probability",
    ),
    "repetition_penalty": Text(
        "Кабатлаган өчен штраф", "Штраф за повторы", "Repetition penalty"
    ),
    "repetition_penalty_info": Text(
        "1 — штраф юк; зуррак сан — кабатлау азрак",
        "1 — без штрафа; больше — меньше повторов",
        "1 is none; more makes it repeat itself less",
    ),
    "length": Text(
        "Дәвамның иң зур озынлыгы (токен)",
        "Наибольшая длина продолжения в токенах",
        "Maximum length of the continuation in tokens",
    ),
    "seed": Text("Башлангыч сан", "Начальное число", "Seed"),
    "seed_info": Text(
        "Текстның башы, сан һәм көйләүләр үзгәрмәсә, текст та шул ук була; буш калдырсагыз, сан "
        "очраклы сайлана",
        "При том же начале, числе и настройках текст будет тем же; если поле пустое, число "
        "случайное",
        "The same beginning, number and settings give the same text; if empty, the number is "
        "random",
    ),
    "figures": Text(
        "Токеннар: {tokens} · тизлек: секундына {speed} · контекст: {used} / {size} токен",
        "Токенов: {tokens} · скорость: {speed} в секунду · контекст, токенов: {used} из {size}",
        "Tokens: {tokens} · speed: {speed} a second · context: {used} of {size} tokens",
    ),
    "seed_used": Text("башлангыч сан: {seed}", "начальное число: {seed}", "seed: {seed}"),
    "ended": Text(
        "Модель бу җөмләне тәмамланган дип саный. Дәвам итү өчен яңа юлдан башлагыз яки "
        "«Язуын дәвам итсен» дигәнне сайлагыз.",
        "Модель считает предложение законченным. Чтобы продолжить, начните новую строку или "
        "выберите «Пусть пишет дальше».",
        "The model considers the sentence finished. To go on, begin a new line or choose “Keep "
        "writing”.",
    ),
    # ---------------------------------------------------------------- comparing
    "compare": Text("Чагыштыру", "Сравнить", "Compare"),
    "compare_intro": Text(
        "Текстның башы бер үк — температура өч төрле.",
        "Одно начало — три температуры.",
        "One beginning, three temperatures.",
    ),
    # ---------------------------------------------------------------- looking inside
    "look": Text("Карау", "Посмотреть", "Look"),
    "surprise": Text(
        "Модель нәрсәне көтмәгән", "Чего модель не ожидала", "What the model did not expect"
    ),
    "surprise_info": Text(
        "Төс никадәр куерак булса, модель токенны шулкадәр азрак көткән. Токенга бассагыз, аның "
        "урынында нәрсә булырга мөмкин икәне күренер.",
        "Чем гуще цвет, тем неожиданнее токен для модели. Нажмите на токен, и станет видно, что "
        "могло стоять на его месте.",
        "The stronger the colour, the less the model expected the token. Click a token to see what "
        "could have stood in its place.",
    ),
    "alternatives": Text(
        "«{token}» урынында нәрсә булырга мөмкин иде",
        "Что могло стоять на месте «{token}»",
        "What could have stood in place of “{token}”",
    ),
    "alternatives_info": Text(
        "Вариантка бассагыз, текст шуннан дәвам итәр.",
        "Нажмите на вариант, и текст продолжится с него.",
        "Click one, and the text goes on from it.",
    ),
    "continuation": Text("Дәвамы", "Продолжение", "Continuation"),
    "end_of_sentence": Text("җөмлә ахыры", "конец предложения", "end of the sentence"),
    # ---------------------------------------------------------------- measuring
    "measure": Text("Үлчәү", "Измерить", "Measure"),
    "measure_hint": Text(
        "Татарча текст куегыз. Һәр юл аерым җөмлә булып санала.",
        "Вставьте текст на татарском. Каждая строка считается отдельным предложением.",
        "Paste a text in Tatar. Each line counts as a sentence.",
    ),
    "perplexity": Text("Перплексия", "Перплексия", "Perplexity"),
    "bits_per_character": Text("Бер билгегә ничә бит", "Бит на знак", "Bits per character"),
    "bits_per_byte": Text("Бер байтка ничә бит", "Бит на байт", "Bits per byte"),
    "tokens_per_word": Text("Бер сүзгә ничә токен", "Токенов на слово", "Tokens per word"),
    "tokens": Text("Токеннар", "Токенов", "Tokens"),
    "measure_info": Text(
        "Беренче өч сан никадәр кечерәк булса, текст модельгә шулкадәр танышрак.",
        "Чем меньше первые три числа, тем привычнее текст для модели.",
        "The smaller the first three figures, the more familiar the text is to the model.",
    ),
    "cut": Text(
        "Текстның токеннарга бүленеше",
        "Как текст делится на токены",
        "How the text is cut into tokens",
    ),
    # ---------------------------------------------------------------- about the model
    "about_corpus": Text("Корпус", "Корпус", "Corpus"),
    "about_sentences": Text(
        "Өйрәтү өчен җөмләләр", "Предложений для обучения", "Sentences for training"
    ),
    "about_characters": Text("Билгеләр", "Знаков", "Characters"),
    "about_licence": Text("Корпус лицензиясе", "Лицензия корпуса", "Licence of the corpus"),
    "about_parameters": Text("Параметрлар", "Параметров", "Parameters"),
    "about_shape": Text("Төзелеше", "Устройство", "Shape"),
    "shape": Text(
        "{n_layer} катлам, {n_head} игътибар башы, киңлек {n_embd}, контекст {block_size} токен",
        "слоёв: {n_layer}, голов внимания: {n_head}, ширина: {n_embd}, контекст (в токенах): "
        "{block_size}",
        "{n_layer} layers, {n_head} attention heads, width {n_embd}, context {block_size} tokens",
    ),
    "about_recipe": Text("Өйрәтү рецепты", "Рецепт обучения", "Training recipe"),
    "recipe": Text(
        "{preset}: {steps} адым, һәр адымда {tokens} токен, {optimizer}, өйрәнү тизлеге "
        "{learning_rate}",
        "{preset} — шагов: {steps}, токенов в шаге: {tokens}, {optimizer}, скорость обучения: "
        "{learning_rate}",
        "{preset}: {steps} steps of {tokens} tokens, {optimizer}, learning rate {learning_rate}",
    ),
    "about_loss": Text(
        "Тикшерү өлешендәге хата", "Ошибка на проверочной выборке", "Validation loss"
    ),
    "loss": Text(
        "бер токенга {loss} нат; ешлыкка карап кына фаразлаганда — {guessing}",
        "{loss} ната на токен; если угадывать только по частоте — {guessing}",
        "{loss} nats per token; guessing by frequency alone gives {guessing}",
    ),
    "about_date": Text("Модель файлының датасы", "Дата файла модели", "Date of the model file"),
    "curve": Text("Өйрәтү барышы", "Ход обучения", "Training curve"),
    "curve_step": Text("адым", "шаг", "step"),
    "curve_loss": Text("хата, нат/токен", "ошибка, нат на токен", "loss, nats per token"),
    "curve_training": Text("өйрәтү", "обучение", "training"),
    "curve_validation": Text("тикшерү", "проверка", "validation"),
    "no_curve": Text(
        "Модель янында metrics.jsonl юк, шуңа күрә өйрәтү барышы билгесез.",
        "Рядом с моделью нет metrics.jsonl, поэтому ход обучения неизвестен.",
        "There is no metrics.jsonl beside the model, so its training curve is not known.",
    ),
    # ---------------------------------------------------------------- what may go wrong
    "empty": Text(
        "Башта берәр текст языгыз.", "Сначала введите текст.", "Enter a text first."
    ),
    "too_long": Text(
        "Текст артык озын: {given} билге. Иң күбе — {limit}.",
        "Текст слишком длинный. Знаков: {given}, допустимо не больше {limit}.",
        "The text is too long: {given} characters; the limit is {limit}.",
    ),
    "waiting": Text(
        "Чират: сездән алда {ahead} кеше бар.",
        "Вы в очереди, перед вами: {ahead}.",
        "Waiting: {ahead} ahead of you.",
    ),
    "busy": Text(
        "Хәзер модельне артык күп кеше куллана. Бер минуттан кабатлап карагыз.",
        "Сейчас моделью пользуется слишком много людей. Попробуйте через минуту.",
        "Too many people are using the model just now. Try again in a minute.",
    ),
    "out_of_time": Text(
        "Вакыт бетте: бер текстка {seconds} секундтан артык бирелми.",
        "Время вышло: на один текст отводится не больше {seconds} с.",
        "Out of time: each text gets at most {seconds} seconds.",
    ),
    "out_of_range": Text(
        "Көйләүләр яраксыз: {problems}",
        "Недопустимые настройки: {problems}",
        "Invalid settings: {problems}",
    ),
    "too_many_tokens": Text(
        "Бер текстка иң күбе {limit} яңа токен өстәлә; сез {given} токен сорадыгыз.",
        "В одном тексте может быть не больше {limit} новых токенов, а вы просите {given}.",
        "A text gets at most {limit} new tokens; you asked for {given}.",
    ),
    "bad_seed": Text(
        "Башлангыч сан 0 дән ким булмаган бөтен сан булырга тиеш (иң күбе 18 цифр).",
        "Начальное число должно быть целым и не меньше 0 (не больше 18 цифр).",
        "The seed must be a whole number, 0 or more (at most 18 digits).",
    ),
    "failed": Text(
        "Хата килеп чыкты. Кабатлап карагыз.",
        "Что-то не получилось. Попробуйте ещё раз.",
        "Something went wrong. Please try again.",
    ),
}  # fmt: skip


def say(key: str, language: str, **values: object) -> str:
    """A text in one of LANGUAGES."""
    text: str = getattr(TEXTS[key], language)
    return text.format(**values)


def number(value: float, language: str, digits: int = 0) -> str:
    """A number as it is written in this language: 12 345,6 or 12,345.6."""
    written = f"{value:,.{digits}f}"
    return written if language == "en" else written.translate({44: "\u00a0", 46: ","})


def language_of(accept_language: str | None) -> str:
    """The first of LANGUAGES that a browser asks for; Tatar if it asks for none of them."""
    asked = []
    for place, part in enumerate((accept_language or "").split(",")):
        name, _, quality = part.strip().partition(";q=")
        try:
            asked.append((-float(quality or 1), place, name.split("-")[0].lower()))
        except ValueError:
            continue
    return next((name for _, _, name in sorted(asked) if name in LANGUAGES), "tt")
