package aftermath

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/chaos/cluster"
)

// horizon is how old an orphan may be: nothing writes any more.
const horizon = time.Second

// system sweeps the system bucket, looks whether something is left that nothing needs, and has every object
// verified as it lies at MinIO.
func system(ctx context.Context, c *cluster.Cluster, _ Options) ([]Finding, error) {
	proxy := c.Proxies[0]
	var out string
	// The first finds, the second removes, the third has nothing left to do.
	for range 3 {
		time.Sleep(2 * horizon)
		var err error
		if out, err = c.RunCommand(ctx, proxy, nil, "object", "sweep", "--force", "--older-than", horizon.String()); err != nil {
			return []Finding{{"sweep", err.Error()}}, nil
		}
		c.Logf("aftermath: sweep: %s", lastLine(out))
	}
	out, err := c.RunCommand(ctx, proxy, nil, "object", "verify")
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	found := findings(out)
	if err != nil && len(found) == 0 {
		found = append(found, Finding{"verify", err.Error()})
	}
	return found, nil
}

// harmless are the kinds of findings of a verification that are no damage. An orphan is none either, but after
// those sweeps there must not be one.
var harmless = map[string]bool{"plain": true, "customer-key": true, "unproven": true, "summary": true}

func findings(out string) []Finding {
	var found []Finding
	for line := range strings.Lines(out) {
		var f struct{ Kind string }
		if json.Unmarshal([]byte(line), &f) == nil && f.Kind != "" && !harmless[f.Kind] {
			found = append(found, Finding{"verify", fmt.Sprintf("%s: %s", f.Kind, strings.TrimSpace(line))})
		}
	}
	return found
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
