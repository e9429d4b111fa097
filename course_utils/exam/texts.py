"""What the exam practice says, in English and in Traditional Chinese."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, str]] = {
    "practice": ("Practice", "練習"),
    "mock": ("Mock exam", "模擬考"),
    "progress": ("Progress", "學習進度"),
    "language": ("Language", "語言"),
    "topic": ("Topic", "主題"),
    "by_weakness": ("All topics, weak ones first", "所有主題，弱項優先"),
    "check": ("Check", "檢查答案"),
    "next": ("Next question", "下一題"),
    "your_answer": ("Your answer", "你的答案"),
    "your_answers": ("Your numbers, with commas", "你的答案（以逗號分隔）"),
    "choose_one": ("Choose one", "單選"),
    "choose_several": ("Choose all that are right (two or more)", "選出所有正確者（兩個以上）"),
    "choose_line": ("Choose the line", "選擇行號"),
    "put_in_order": ("Choose what comes first, second, …", "依序選擇第一、第二、…"),
    "match": ("Choose the partner of each", "為每一項選擇對應者"),
    "nothing": ("–", "–"),
    "right": ("Right.", "答對了。"),
    "wrong": ("Not right.", "答錯了。"),
    "partly": ("Partly right: {percent} %.", "部分正確：{percent} %。"),
    "unreadable": ("This is not a number that can be read.", "無法讀取這個數字。"),
    "no_answer": ("No answer.", "沒有作答。"),
    "answer": ("Right answer:", "正確答案："),
    "line": ("Line {number}. It should be:", "第 {number} 行。應改為："),
    "slide": ("Slide:", "投影片："),
    "facts": (
        "Difficulty {difficulty} · about {minutes} min",
        "難度 {difficulty} · 約 {minutes} 分鐘",
    ),
    "due_again": ("This question comes again in {when}.", "這一題將在 {when} 後再出現。"),
    "minutes": ("{number} min", "{number} 分鐘"),
    "hours": ("{number} h", "{number} 小時"),
    "days": ("{number} d", "{number} 天"),
    "length": ("Length", "考試時間"),
    "seed": ("Seed", "試卷編號"),
    "seed_hint": ("The same seed gives the same exam.", "相同編號產生相同試卷。"),
    "start": ("Start a new exam", "開始新的考試"),
    "replace": (
        "This ends the exam under way. Press once more to start a new one.",
        "這會結束進行中的考試。再按一次以開始新的考試。",
    ),
    "resume": ("Go on", "繼續"),
    "pause": ("Pause", "暫停"),
    "paused": ("Paused. The time stands still.", "已暫停，時間停止計算。"),
    "previous": ("Previous", "上一題"),
    "following": ("Next", "下一題"),
    "go_to": ("Question", "題號"),
    "finish": ("Hand in", "交卷"),
    "finish_sure": (
        "Questions without an answer: {open}. Press once more to hand in.",
        "還有 {open} 題未作答。再按一次交卷。",
    ),
    "left": ("Time left", "剩餘時間"),
    "answered": ("answered", "已作答"),
    "of": ("Question {number} of {count}", "第 {number} 題，共 {count} 題"),
    "mark": (
        "Your mark: {percent:.0f} % ({points:.1f} of {most:.0f} points)",
        "你的成績：{percent:.0f} %（{points:.1f} / {most:.0f} 分）",
    ),
    "points": ("{points:.1f} of {most} points", "{points:.1f} / {most} 分"),
    "given": ("Your answer:", "你的答案："),
    "weak_topics": ("Score by topic", "各主題得分"),
    "no_history": ("Nothing answered yet.", "尚無作答紀錄。"),
    "summary": (
        "Answers: {answers}. Questions seen: {questions} of {all}. Due for repetition: {due}.",
        "已作答 {answers} 次，涵蓋 {all} 題中的 {questions} 題；{due} 題待複習。",
    ),
    "kept_in": ("Kept in {folder}.", "紀錄存於 {folder}。"),
    "refresh": ("Refresh", "更新"),
    "chart_alt": (
        "Bars: score of each topic, weakest at the top",
        "各主題得分長條圖，最弱的在最上方",
    ),
}
PLACES = {"en": 0, "zh": 1}


def say(key: str, language: str, **values: object) -> str:
    """Return a text of the user interface.

    Args:
        key: name of the text.
        language: "en" or "zh".
        **values: what goes into its places.
    """
    text = TEXTS[key][PLACES[language]]
    return text.format(**values) if values else text
