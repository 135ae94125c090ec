package s3api

import (
	"fmt"

	"github.com/bucketseal/bucketseal/proxy/bucketpolicy"
	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/sse"
)

// reader is the request's caller as the engine knows it, writer the same with what a
// bucket's policy may ask of a write.
func (s *API) reader(r *intake.Request) *caller.Caller {
	return &caller.Caller{
		Keys: r.Caller.Keys(), Actor: r.Actor(), Name: r.Caller.AccessKey, RequestID: r.ID, Memory: s.in.Memory(r),
	}
}

func (s *API) writer(r *intake.Request) *caller.Caller {
	c := s.reader(r)
	c.Policy = func() map[string][]string {
		return map[string][]string{
			bucketpolicy.Method:            encryptionSaid(r.Header, sse.HeaderMethod),
			bucketpolicy.KMSKeyID:          encryptionSaid(r.Header, sse.HeaderKMSKeyID),
			bucketpolicy.CustomerAlgorithm: encryptionSaid(r.Header, sse.HeaderCustomerAlgorithm),
			bucketpolicy.UserAgent:         {r.UserAgent()}, bucketpolicy.Referer: {r.Referer()},
			bucketpolicy.SecureTransport: {fmt.Sprint(r.Origin.Secure)}, bucketpolicy.SourceIP: {r.Origin.Addr.String()},
		}
	}
	return c
}
