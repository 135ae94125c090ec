package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/glob"
)

// anyBucket is a name that no bucket has: a pattern that fits it fits nearly all.
const anyBucket = "q7w1z9-no-such-bucket-x8k3"

// accessLook looks for patterns that are too wide.
func accessLook(_ context.Context, e *examination) {
	for _, list := range []struct {
		id, setting string
		patterns    []string
	}{
		{"access.plain-read", "plain_read", e.c.PlainRead},
		{"access.anonymous", "allow_anonymous", e.c.AllowAnonymous},
	} {
		var wide []string
		for _, p := range list.patterns {
			if (glob.Patterns{p}).Match(anyBucket) || strings.Trim(p, "*?") == "" {
				wide = append(wide, p)
			}
		}
		if len(wide) > 0 {
			e.find(list.id, fmt.Sprintf("%s has %q, which is every bucket, those to come too", list.setting, wide))
		}
	}
}

// leastFiles is how many files a server should be able to open.
const leastFiles = 4096

// machineLook looks at what the process has.
func machineLook(_ context.Context, e *examination) {
	if e.o.Machine == nil {
		return
	}
	m := e.o.Machine()
	if m.Memory > 0 && e.c.SmallObject.Budget > m.Memory/2 {
		e.find("machine.memory", fmt.Sprintf("small_object.budget (%d MiB) is more than half of the memory (%d MiB)", e.c.SmallObject.Budget>>20, m.Memory>>20))
	}
	if m.Memory > 0 && m.Limit > m.Memory {
		e.find("machine.memory", fmt.Sprintf("GOMEMLIMIT (%d MiB) is more than the memory (%d MiB)", m.Limit>>20, m.Memory>>20))
	}
	if m.Files > 0 && m.Files < leastFiles {
		e.find("machine.files", fmt.Sprintf("the process may open %d files", m.Files))
	}
	if m.Swap {
		e.find("machine.swap", "the machine has swap space, and the memory of the process is not locked")
	}
	if m.Cores {
		e.find("machine.core", "a core dump of the process would be written")
	}
}
