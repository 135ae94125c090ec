package listing

import (
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

func TestServiceIdentitysMetadataStaysInside(t *testing.T) {
	t.Parallel()
	got := reservedOnly([]storage.MetaEntry{{Name: "X-Amz-Meta-Secret", Value: "x"}, {Name: "X-Amz-Meta-Bucketseal", Value: "r"}, {Name: "x-amz-meta-bucketseal", Value: "r2"}, {Name: "content-type", Value: "x"}})
	if len(got) != 2 || got[0].Value != "r" || got[1].Value != "r2" {
		t.Errorf("got %v", got)
	}
}
