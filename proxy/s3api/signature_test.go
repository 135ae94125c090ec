package s3api

import (
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/sigv4"
)

// Signatures of version 2 cover only the parameters that they know: one that
// chooses the operation and that they did not know could be added by anybody.
func TestVersion2SignsEveryParameterThatChoosesTheOperation(t *testing.T) {
	t.Parallel()
	for _, r := range Routes() {
		for _, sub := range r.Sub {
			name, _, _ := strings.Cut(sub, "=")
			if name == "Action" || name == "list-type" {
				continue // the Security Token Service does not take version 2; a listing in another form is a listing
			}
			if !sigv4.IsSubResource(name) {
				t.Errorf("%s: %q is not signed", r.Op, name)
			}
		}
	}
}
