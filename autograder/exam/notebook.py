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
