package server

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
)

type policyInfo struct {
	Name  string      `json:"name"`
	Allow *patternSet `json:"allow,omitempty"`
	Deny  *patternSet `json:"deny,omitempty"`
	// Bucketseal is not KES's, and absent where it is false.
	Bucketseal bool              `json:"bucketseal,omitempty"`
	CreatedAt  time.Time         `json:"created_at"`
	CreatedBy  identity.Identity `json:"created_by"`
}

// findPolicy returns what the path names. *nameError, errPolicyNotFound.
func (r *request) findPolicy() (config.Policy, policyInfo, error) {
	if kms.ValidateKeyName(r.name) != nil {
		return config.Policy{}, policyInfo{}, &nameError{"policy name", r.name}
	}
	policy, ok := r.state.config.Policies[r.name]
	if !ok {
		return policy, policyInfo{}, errPolicyNotFound
	}
	return policy, policyInfo{Name: r.name, CreatedAt: r.state.since, CreatedBy: r.state.config.Admin}, nil
}

func describePolicy(_ *Server, w http.ResponseWriter, r *request) error {
	_, info, err := r.findPolicy()
	if err != nil {
		return err
	}
	return write(w, info)
}

func readPolicy(_ *Server, w http.ResponseWriter, r *request) error {
	policy, info, err := r.findPolicy()
	if err != nil {
		return err
	}
	info.Allow, info.Deny = (*patternSet)(&policy.Allow), (*patternSet)(&policy.Deny)
	info.Bucketseal = policy.Bucketseal
	return write(w, info)
}

func listPolicies(_ *Server, w http.ResponseWriter, r *request) error {
	if kms.ValidateListPattern(r.name) != nil {
		return &patternError{r.name}
	}
	prefix := strings.TrimSuffix(r.name, "*")
	names := []string{}
	for name := range r.state.config.Policies {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return write(w, nameList{names})
}

type identityInfo struct {
	Identity  identity.Identity `json:"identity"`
	Admin     bool              `json:"admin,omitempty"`
	Policy    string            `json:"policy,omitempty"`
	Allow     *patternSet       `json:"allow,omitempty"`
	Deny      *patternSet       `json:"deny,omitempty"`
	CreatedAt time.Time         `json:"created_at"`
	CreatedBy identity.Identity `json:"created_by,omitempty"`
}

// identityInfo returns what is known of an identity. errIdentityNotFound.
func (st *state) identityInfo(id identity.Identity) (identityInfo, error) {
	info := identityInfo{Identity: id, CreatedAt: st.since}
	if id != "" && id == st.config.Admin {
		info.Admin = true
		return info, nil
	}
	policy, ok := st.assigned[id]
	if !ok {
		return info, errIdentityNotFound
	}
	info.Policy, info.CreatedBy = policy, st.config.Admin
	return info, nil
}

func describeIdentity(_ *Server, w http.ResponseWriter, r *request) error {
	if kms.ValidateKeyName(r.name) != nil {
		return &nameError{"identity", r.name}
	}
	info, err := r.state.identityInfo(identity.Identity(strings.ToLower(r.name)))
	if err != nil {
		return err
	}
	return write(w, info)
}

// describeSelf tells callers who they are, and what their policy allows.
func describeSelf(_ *Server, w http.ResponseWriter, r *request) error {
	info, err := r.state.identityInfo(r.caller)
	if err != nil {
		return err
	}
	if policy, ok := r.state.config.Policies[info.Policy]; ok {
		info.Allow, info.Deny = (*patternSet)(&policy.Allow), (*patternSet)(&policy.Deny)
	}
	return write(w, info)
}

func listIdentities(_ *Server, w http.ResponseWriter, r *request) error {
	if kms.ValidateListPattern(r.name) != nil {
		return &patternError{r.name}
	}
	prefix := strings.ToLower(strings.TrimSuffix(r.name, "*"))
	list := []identity.Identity{}
	add := func(id identity.Identity) {
		if id != "" && strings.HasPrefix(id.String(), prefix) {
			list = append(list, id)
		}
	}
	add(r.state.config.Admin)
	for id := range r.state.assigned {
		add(id)
	}
	slices.Sort(list)
	return write(w, struct {
		Identities []identity.Identity `json:"identities"`
	}{list})
}
