package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// folders gives each claim a folder of this machine: what a cloud's disks are to a managed cluster.
type folders struct{ root string }

// Provision makes the folder of a claim. Everyone may write into it, because images choose their own user; a pod
// that asks for fsGroup gets that as well, since the kubelet owns `local` volumes (and not `hostPath` ones).
func (f folders) Provision(_ context.Context, options controller.ProvisionOptions) (
	*core.PersistentVolume, controller.ProvisioningState, error) {
	path := filepath.Join(f.root, options.PVName)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	// The umask has no say in it.
	if err := os.Chmod(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	// A local volume must name its nodes. There is one folder and any node can reach it.
	anyNode := core.NodeSelectorRequirement{Key: core.LabelHostname, Operator: core.NodeSelectorOpExists}
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			AccessModes:                   options.PVC.Spec.AccessModes,
			Capacity:                      options.PVC.Spec.Resources.Requests,
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			PersistentVolumeSource:        core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: path}},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{
				{MatchExpressions: []core.NodeSelectorRequirement{anyNode}},
			}}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes the folder of a volume, and no other: a volume that somebody made by hand may name any path.
func (f folders) Delete(_ context.Context, volume *core.PersistentVolume) error {
	path := filepath.Join(f.root, volume.Name)
	if volume.Spec.Local == nil || volume.Spec.Local.Path != path {
		return fmt.Errorf("%s is not the folder of volume %s: left alone", path, volume.Name)
	}
	return os.RemoveAll(path)
}

func newProvisionerCommand() *cobra.Command {
	var kubeconfig, root, name string
	command := &cobra.Command{
		Use:   "provisioner",
		Short: "Give every claim of a storage class a folder of this machine",
		Args:  cobra.NoArgs,
		// An error is a sentence, not a page of usage.
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return err
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			ctx := command.Context()
			options := controller.LeaderElection(false)
			provisioner := controller.NewProvisionController(ctx, client, name, folders{root}, options)
			// It ends only by a signal.
			provisioner.Run(ctx)
			return errors.New("stopped")
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&root, "root", "", "folder under which each volume gets its own")
	command.Flags().StringVar(&name, "name", "herald.dev/folders", "provisioner to answer to, as storage classes name it")
	for _, flag := range []string{"kubeconfig", "root"} {
		if err := command.MarkFlagRequired(flag); err != nil {
			panic(err)
		}
	}
	return command
}
