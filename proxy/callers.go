package proxy

import (
	"fmt"

	"github.com/bucketseal/bucketseal/proxy/bucketpolicy"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// actor is the request's caller as the storage is to know it.
func (r *request) actor() storage.Actor {
	return storage.Actor{
		Credential: r.caller.credential, Agent: r.UserAgent(), Referer: r.Referer(), Addr: r.origin.Addr, Told: r.told(),
	}
}

// reader is the request's caller as the engine knows it, writer the same with what a
// bucket's policy may ask of a write.
func (s *Server) reader(r *request) *vault.Caller {
	return &vault.Caller{
		Keys: r.caller.keys(), Actor: r.actor(), Name: r.caller.accessKey, RequestID: r.id, Memory: share{s.buffers, r.claim()},
	}
}

func (s *Server) writer(r *request) *vault.Caller {
	c := s.reader(r)
	c.Policy = map[string][]string{
		bucketpolicy.Method:            encryptionSaid(r.Header, sse.HeaderMethod),
		bucketpolicy.KMSKeyID:          encryptionSaid(r.Header, sse.HeaderKMSKeyID),
		bucketpolicy.CustomerAlgorithm: encryptionSaid(r.Header, sse.HeaderCustomerAlgorithm),
		bucketpolicy.UserAgent:         {r.UserAgent()}, bucketpolicy.Referer: {r.Referer()},
		bucketpolicy.SecureTransport: {fmt.Sprint(r.origin.Secure)}, bucketpolicy.SourceIP: {r.origin.Addr.String()},
	}
	return c
}

// share is what a caller takes of the memory for small uploads.
type share struct {
	budget *bufferBudget
	claim  edge.Claim
}

// Take implements vault.Memory.
func (s share) Take(size int64) []byte { return s.budget.take(s.claim, size) }

// Give implements vault.Memory.
func (s share) Give(buffer []byte, reuse bool) { s.budget.give(s.claim, buffer, reuse) }
