# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Exam practice (考前練習)
#
# Questions on every slide of the lecture, in English and in Chinese (中文). Run the cells with
# *Shift-Enter*.
#
# - **Practice**: one question at a time, marked at once, with a worked solution. What you got wrong
#   comes back sooner. Many questions have fresh numbers each time.
# - **Mock exam**: two hours or shorter, with the weights of the exam. No answer is shown before the
#   end. You may pause. After every answer your exam is saved: if the kernel stops, run the cell
#   again and press *Go on*.
# - **Progress**: your score by topic, the weakest first.
#
# The keyboard is enough: *Tab* goes on, arrow keys choose, *Space* presses or ticks.
#
# Your answers stay on this computer, in the folder `compression_exam_practice` of your home folder.
#
# ---
#
# 題目涵蓋課程的每一張投影片，有中文也有英文。用 *Shift-Enter* 執行儲存格，再按 **中文** 切換語言。
#
# - **練習**：一次一題，立即批改並附詳解；答錯的題目會較早再出現，許多題目每次換新數字。
# - **模擬考**：兩小時或更短，配分與考試相同，結束前不顯示答案，可以暫停。每答一題就存檔：若核心
#   （kernel）中斷，重新執行儲存格，再按「繼續」即可。
# - **學習進度**：各主題的得分，最弱的排在最前面。
#
# 只用鍵盤也能操作：*Tab* 移動，方向鍵選擇，空白鍵按下或勾選。
#
# 作答紀錄只留在這台電腦，位於家目錄的 `compression_exam_practice` 資料夾。

# %%
from course_utils.exam.app import exam_practice

exam_practice(language="en")

# %% [markdown]
# **How numbers are marked.** Give as many decimals as the question asks for; the last place may be
# off by one. `1,604,004`, `1/3` and `2e-3` are read as well. Several numbers: put commas between
# them.
#
# **Part marks.** *Choose all*: each right choice counts, each wrong one takes the same away.
# *Order*: each pair of neighbours counts. *Match*: each pair counts. A question is worth as many
# points as it takes minutes.
#
# ---
#
# **數字題**：請寫到題目要求的小數位數，最後一位可差 1；也可以寫成 `1,604,004`、`1/3` 或 `2e-3`。
# 有好幾個數字時，用逗號隔開。
#
# **部分給分**：*多選*，每選對一項得分，每選錯一項扣同樣的分數；*排序*，每一對相鄰的項目計分；
# *配對*，每一對計分。一題的分數等於作答所需的分鐘數。
