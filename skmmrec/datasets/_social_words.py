"""Write posts in English and Chinese: what they are about, and how they are told."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skmmrec.datasets._words import pick


class Topic(NamedTuple):
    """The words of a topic in one language."""

    things: tuple[str, ...]
    places: tuple[str, ...]
    deeds: tuple[str, ...]


class Mood(NamedTuple):
    """The words of a mood in one language."""

    openings: tuple[str, ...]
    closings: tuple[str, ...]


TOPICS: dict[str, dict[str, Topic]] = {
    "food": {
        "en": Topic(
            ("Noodle soup", "Dumplings", "Sourdough", "Chilli oil", "Braised pork"),
            (
                "in a tiny place by the river",
                "at the night market",
                "in my own kitchen",
                "at grandma's",
            ),
            (
                "ate a bowl of hot noodle soup",
                "folded fifty dumplings",
                "baked my first sourdough bread",
                "tasted four kinds of chilli oil",
                "cooked braised pork after an old recipe",
            ),
        ),
        "zh": Topic(
            ("牛肉面", "饺子", "面包", "辣椒油", "红烧肉"),
            ("在河边的小馆子", "在夜市", "在自家厨房", "在外婆家"),
            (
                "吃了一碗热汤面",
                "包了五十个饺子",
                "烤了第一个面包",
                "尝了四种辣椒油",
                "照着老菜谱做了红烧肉",
            ),
        ),
    },
    "travel": {
        "en": Topic(
            ("Night trains", "Old town", "Hiking", "Window seat", "Sunrise"),
            (
                "in the mountains",
                "on a small island",
                "in the old town",
                "at the railway station",
            ),
            (
                "took the night train without a plan",
                "got up at four to see the sunrise",
                "hiked twenty kilometres along the coast",
                "lost my luggage and found a hostel",
                "watched the clouds from a window seat",
            ),
        ),
        "zh": Topic(
            ("夜班火车", "古城", "徒步", "靠窗的座位", "日出"),
            ("在山里", "在小岛上", "在古城", "在火车站"),
            (
                "没做攻略就坐上了夜班火车",
                "四点起床去看日出",
                "沿着海岸徒步二十公里",
                "丢了行李找到一家青旅",
                "靠着车窗看了一路的云",
            ),
        ),
    },
    "football": {
        "en": Topic(
            ("The derby", "Our keeper", "Penalties", "The league", "The new striker"),
            (
                "at the stadium",
                "in the last minute",
                "on the training ground",
                "with all the fans",
            ),
            (
                "saw our team win the derby",
                "watched the keeper save two penalties",
                "cheered for the new striker's first goal",
                "followed the match with ten players",
                "saw us climb in the league table",
            ),
        ),
        "zh": Topic(
            ("德比", "守门员", "点球", "联赛", "新前锋"),
            ("在球场", "在比赛最后一分钟", "在训练场", "和球迷们一起"),
            (
                "看到主队赢了德比",
                "看守门员扑出两个点球",
                "为新前锋的第一个进球欢呼",
                "看完了少一人作战的比赛",
                "看着球队的联赛排名往上升",
            ),
        ),
    },
    "phones": {
        "en": Topic(
            ("Battery life", "The update", "The camera", "The screen", "This app"),
            ("on the new phone", "after the update", "at the repair shop", "at work"),
            (
                "compared the cameras of three phones",
                "waited an hour for the software update",
                "changed the battery by myself",
                "replaced a broken screen",
                "deleted forty apps",
            ),
        ),
        "zh": Topic(
            ("续航", "系统更新", "摄像头", "屏幕", "这个应用"),
            ("在新手机上", "在更新之后", "在维修店", "在公司"),
            (
                "对比了三款手机的摄像头",
                "等系统更新等了一个小时",
                "自己动手换了电池",
                "换掉了摔碎的屏幕",
                "删掉了四十个应用",
            ),
        ),
    },
    "cats": {
        "en": Topic(
            ("My cat", "The kitten", "Cat food", "The vet", "Her paws"),
            (
                "on the sofa",
                "under the blanket",
                "at the vet's",
                "on my keyboard",
            ),
            (
                "found the cat asleep",
                "brought the kitten home",
                "bought the wrong cat food again",
                "had the cat vaccinated",
                "was woken up by a paw on my nose",
            ),
        ),
        "zh": Topic(
            ("我家猫", "小奶猫", "猫粮", "宠物医生", "猫爪"),
            ("在沙发上", "在被窝里", "在宠物医院", "在键盘上"),
            (
                "发现猫睡着了",
                "把小奶猫接回了家",
                "又买错了猫粮",
                "给猫打了疫苗",
                "被猫爪拍醒了",
            ),
        ),
    },
    "garden": {
        "en": Topic(
            ("Tomatoes", "Roses", "Compost", "Seedlings", "The balcony"),
            ("on the balcony", "in the greenhouse", "behind the house", "in the rain"),
            (
                "picked the first ripe tomatoes",
                "pruned the roses",
                "turned over the compost",
                "planted out the seedlings",
                "chased the snails off the lettuce",
            ),
        ),
        "zh": Topic(
            ("番茄", "月季", "堆肥", "小苗", "阳台花园"),
            ("在阳台上", "在温室里", "在屋后", "在雨里"),
            (
                "摘下了第一批熟番茄",
                "给月季剪了枝",
                "翻了一遍堆肥",
                "把小苗移到了地里",
                "赶走了生菜上的蜗牛",
            ),
        ),
    },
    "films": {
        "en": Topic(
            ("The ending", "This director", "The sequel", "Subtitles", "The classic"),
            (
                "at the cinema",
                "at midnight",
                "at the film festival",
                "for the third time",
            ),
            (
                "watched a black-and-white classic",
                "cried over the ending of that film",
                "sat through a three-hour sequel",
                "saw the new film of my favourite director",
                "argued about the plot with friends",
            ),
        ),
        "zh": Topic(
            ("结局", "这位导演", "续集", "字幕", "老电影"),
            ("在电影院", "在午夜场", "在电影节", "在重看的时候"),
            (
                "看了一部黑白老电影",
                "被电影的结局看哭了",
                "看完了三个小时的续集",
                "看了喜欢的导演的新片",
                "和朋友争论剧情",
            ),
        ),
    },
    "guitar": {
        "en": Topic(
            ("This chord", "New strings", "The band", "The chorus", "Practice"),
            ("in the rehearsal room", "on stage", "in the living room", "at the shop"),
            (
                "learned the chords of an old song",
                "put new strings on the guitar",
                "rehearsed with the band",
                "wrote a chorus at last",
                "tried out a second-hand amplifier",
            ),
        ),
        "zh": Topic(
            ("和弦", "新琴弦", "乐队", "副歌", "练琴"),
            ("在排练室", "在台上", "在客厅", "在琴行"),
            (
                "学会了一首老歌的和弦",
                "给吉他换了新琴弦",
                "和乐队一起排练",
                "终于写出了一段副歌",
                "试了一台二手音箱",
            ),
        ),
    },
}

MOODS: dict[str, dict[str, Mood]] = {
    "happy": {
        "en": Mood(
            ("What a day!", "So happy:", "Lucky me,", "Best weekend ever,"),
            ("Would do it again tomorrow!", "Still smiling.", "Pure joy."),
        ),
        "zh": Mood(
            ("太开心了！", "今天运气真好，", "幸福的一天，", "最棒的周末，"),
            ("明天还想再来！", "嘴角一直在笑。", "满满的快乐。"),
        ),
    },
    "grumpy": {
        "en": Mood(
            ("Not my day.", "Honestly?", "Never again:", "Sigh,"),
            ("What a waste of time.", "I want my money back.", "So annoying."),
        ),
        "zh": Mood(
            ("今天真倒霉，", "说实话，", "再也不想了，", "唉，"),
            ("真是浪费时间。", "好想退钱。", "太烦人了。"),
        ),
    },
    "helpful": {
        "en": Mood(
            ("A tip:", "Notes for beginners:", "For those who ask:", "Step by step:"),
            (
                "Take your time and bring a list.",
                "Save this for later.",
                "Questions are welcome.",
            ),
        ),
        "zh": Mood(
            ("小技巧：", "新手笔记：", "回答大家的问题：", "一步一步来："),
            ("慢慢来，列个清单。", "建议收藏。", "欢迎提问。"),
        ),
    },
}
ATTRIBUTES = {"topic": tuple(TOPICS), "mood": tuple(MOODS)}

_PATTERNS = {
    "en": (
        "{opening} {deed} {place}. {closing}",
        "{thing}! {opening} {deed} {place}.",
        "{opening} {deed}. {closing}",
        "{thing}, {place}. {closing}",
    ),
    "zh": (
        "{opening}{place}{deed}。{closing}",
        "{thing}！{opening}{place}{deed}。",
        "{opening}{deed}。{closing}",
        "{thing}，{place}。{closing}",
    ),
}


def write_post(topic: str, mood: str, language: str, rng: np.random.Generator) -> str:
    """Write a post.

    `topic` and `mood` are keys of `TOPICS` and `MOODS`; `language` is "en", or "zh" for
    simplified Chinese.
    """
    about, told = TOPICS[topic][language], MOODS[mood][language]
    return pick(rng, _PATTERNS[language]).format(
        thing=pick(rng, about.things),
        place=pick(rng, about.places),
        deed=pick(rng, about.deeds),
        opening=pick(rng, told.openings),
        closing=pick(rng, told.closings),
    )
