"""How a refusal begins: somebody says that it will not help, or that a model cannot, in six languages.

Who cannot come on Friday only declines, and that is a reply like any other.
"""

import re

_CANNOT = (
    r"\bi(?:['’]m| am|) (?:can['’]?t|can ?not|won['’]?t|will not|unable|not able|not capable|not allowed)\b(?: to)?"
)
_DO_NOT = rf"(?:{_CANNOT}|\bi do(?:n['’]t| not)\b)"
_AI = r"(?:(?:ai|artificial intelligence)(?: language)?|(?:large )?language)(?: model| assistant)?\b"
_MADE = r"(?: (?:created|developed|trained|made) by [^.!?,]{1,30})?"
_SORRY = (
    r"(?:(?:(?:i['’]?m|i am|we['’]?re)(?: very| so| really)? |)(?:sorry|afraid)|unfortunately|i apologi[sz]e|"
    r"my apologies|i regret)\b"
)
_END = r"(?= *[.,!;]| *$)"
_THAT = r"(?:that|this|it|those|these|such|your (?:request|question)s?)\b"
_MATTER = r"(?:content|instructions|information|advice|guidance|assistance)\b"
_KIND = r"(?:that|this|such|any) (?:kind|type|sort|information|content|advice|material|text|topic)\b"
_HELP = "|".join(
    (
        r" comply\b| engage in\b",
        rf" fulfil+ {_THAT}",
        rf" do (?:that|this|so)\b(?:{_END}| because| as | for you)",
        rf" (?:help|assist)(?: you)?(?:{_END}| (?:with|in|by) (?:{_THAT}|any|creating|writing|making|requests))",
        rf" answer (?:{_THAT}|any)",
        rf" (?:provide|create|generate|write|discuss|share|give|offer)(?: you)?(?: with)? "
        rf"(?:{_KIND}|{_MATTER}|that\b{_END})(?! (?:before|until|yet|on|by)\b)",
    )
)
_WILL_NOT_HELP = rf"{_CANNOT}(?: be able to)?(?:{_HELP})"
REFUSAL = re.compile(
    r"\s*(?:"
    + "|".join(
        (
            rf"{_SORRY}.{{0,40}}?{_WILL_NOT_HELP}",
            _WILL_NOT_HELP,
            r"i (?:must|have to) (?:decline|refuse)"
            r"(?: to (?:answer|help|assist|provide|write|do)| (?:that|this|your) request|\s*[.!]|\s*$)",
            r"i do(?:n['’]t| not) have the (?:ability|capability)",
            rf"as an? {_AI}{_MADE},? {_DO_NOT}",
            rf"i(?:['’]m| am) (?:just|only) an? {_AI}[^.!?]{{0,30}}?{_CANNOT}",
            r"(?:很?抱歉|对不起|不好意思).{0,12}?(?:无法|不能|不会)"
            r".{0,6}?(?:回答|提供|帮|协助|满足|完成|执行|处理|生成|讨论|支持)",
            r"作为(?:一个|一名)?(?:ai|人工智能|大型)?(?:语言)?模型，?我(?:无法|不能|没有)",
            r"申し訳.{0,16}?(?:お答え|お手伝い|ご?対応|ご?提供|支援).{0,6}?(?:できません|できかねます|致しかねます)",
            r"(?:es )?tut mir (?:sehr )?leid.{0,20}?\bkann\b"
            r".{0,40}?\bnicht (?:weiter)?(?:helfen|beantworten|behilflich|erfüllen)",
            r"lo siento.{0,20}?\bno puedo (?:ayudar|responder|proporcionar|cumplir|hacer eso|ofrecer)",
            r"(?:je suis )?désolée?\b.{0,20}?\bje ne peux pas"
            r" (?:vous aider|t['’]aider|aider|répondre|fournir|faire (?:cela|ça))",
        )
    )
    + ")",
    re.IGNORECASE,
)
