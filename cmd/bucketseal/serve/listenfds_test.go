package serve

import (
	"strings"
	"testing"
)

func TestPassedSocketsAreFoundByTheirNames(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		pid, n, names string
		ask           string
		fd            int
		problem       string
	}{
		"none":                 {ask: "s3"},
		"another process's":    {pid: "6", n: "1", names: "s3", ask: "s3"},
		"the only one":         {pid: "7", n: "1", names: "s3", ask: "s3", fd: 3},
		"the third":            {pid: "7", n: "3", names: "keys:metrics:s3", ask: "s3", fd: 5},
		"not this one":         {pid: "7", n: "1", names: "keys", ask: "s3"},
		"no sockets":           {pid: "7", n: "0", ask: "s3"},
		"the unit's own name":  {pid: "7", n: "1", names: "bucketseal.socket", ask: "s3", problem: `"bucketseal.socket"`},
		"no names":             {pid: "7", n: "1", ask: "s3", problem: `""`},
		"fewer names":          {pid: "7", n: "2", names: "s3", ask: "s3", problem: "2 sockets"},
		"one name twice":       {pid: "7", n: "2", names: "s3:s3", ask: "s3", problem: "two sockets"},
		"a number that is not": {pid: "7", n: "x", names: "s3", ask: "s3", problem: "LISTEN_FDS"},
		"a negative number":    {pid: "7", n: "-1", names: "s3", ask: "s3", problem: "LISTEN_FDS"},
	} {
		env := map[string]string{"LISTEN_PID": test.pid, "LISTEN_FDS": test.n, "LISTEN_FDNAMES": test.names}
		fd, err := passedSocket(test.ask, 7, func(name string) string { return env[name] })
		if fd != test.fd || (err != nil) != (test.problem != "") || err != nil && !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s: %d, %v", name, fd, err)
		}
	}
}
