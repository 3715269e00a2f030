/* SPDX-License-Identifier: MIT */
/* What any program's start costs. */
int main(void)
{
	return 0;
}
