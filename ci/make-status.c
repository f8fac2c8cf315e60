/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Loaded into GNU make by the Makefile: make itself always exits with 2 when a recipe fails, but
 * "make run" shall exit with the status of the program that was run. The recipe leaves that in the
 * file that STATUS_FILE names and succeeds; as make ends, this exits with it instead.
 */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <gnumake.h>

int plugin_is_GPL_compatible;

static char path[4096];

static void leave(void)
{
	FILE *file = fopen(path, "r");
	int status = 0;

	if (!file)
		return;
	if (fscanf(file, "%d", &status) != 1)
		status = 0;
	fclose(file);
	unlink(path);
	if (status) {
		fflush(NULL);
		_exit(status);
	}
}

/* make calls this when it has loaded the object. */
int make_status_gmk_setup(const gmk_floc *floc)
{
	char *name = gmk_expand("$(STATUS_FILE)");

	(void)floc;
	snprintf(path, sizeof(path), "%s", name);
	gmk_free(name);
	unlink(path);
	return atexit(leave) == 0;
}
