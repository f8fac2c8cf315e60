# SPDX-License-Identifier: MIT OR Apache-2.0
# HPC programs as Debian has them, with one rank: the HPC Challenge benchmarks and LAMMPS have on an isle the results that they have
# on Linux.
# vm: VCPUS=4 NODES=2 MEM=5G APIC=x2apic ROOT=/ TIMEOUT=7200
. /lib/hermit/lib.sh
. /lib/hermit/packages.sh

# One rank needs no daemon of MPI's and no network.
export OMPI_MCA_ess_singleton_isolated=1 OMPI_MCA_btl=self OMPI_MCA_pml=ob1 OMP_NUM_THREADS=1
begin 1536M
limit=1500

files() {
	cat >hpccinf.txt <<-'END'
		HPLinpack benchmark input file
		HermitCore
		HPL.out      output file name (if any)
		8            device out (6=stdout,7=stderr,file)
		1            # of problems sizes (N)
		400          Ns
		1            # of NBs
		40           NBs
		0            PMAP process mapping (0=Row-,1=Column-major)
		1            # of process grids (P x Q)
		1            Ps
		1            Qs
		16.0         threshold
		1            # of panel fact
		2            PFACTs (0=left, 1=Crout, 2=Right)
		1            # of recursive stopping criterium
		4            NBMINs (>= 1)
		1            # of panels in recursion
		2            NDIVs
		1            # of recursive panel fact.
		1            RFACTs (0=left, 1=Crout, 2=Right)
		1            # of broadcast
		1            BCASTs (0=1rg,1=1rM,2=2rg,3=2rM,4=Lng,5=LnM)
		1            # of lookahead depth
		1            DEPTHs (>=0)
		2            SWAP (0=bin-exch,1=long,2=mix)
		64           swapping threshold
		0            L1 in (0=transposed,1=no-transposed) form
		0            U  in (0=transposed,1=no-transposed) form
		1            Equilibration (0=no,1=yes)
		8            memory alignment in double (> 0)
		##### This line (no. 32) is ignored (it serves as a separator). ######
		0            Number of additional problem sizes for PTRANS
		1200 10000   values of N
		0            number of additional blocking sizes for PTRANS
		40 9 8 13    values of NB
	END
}
# Residuals, errors and sizes are to be the same. How fast it was, and what of it depends on that, isn't.
afterwards() {
	sed -n '/^Success=/,/^End of Summary/p' hpccoutf.txt |
		grep -v -E '[Tt]ime|[TG]flops|GUPs|GBs|GBytes|usec|Wtick|Updates|STREAM_(Copy|Scale|Add|Triad)'
	grep -c -E 'PASSED|\(passed\)' hpccoutf.txt
	! grep -E 'FAILED|failed\)' hpccoutf.txt
	grep -q '^Success=1$' hpccoutf.txt && rm hpccoutf.txt
}
both "hpcc" /usr/bin/hpcc

files() {
	cat >in.lj <<-'END'
		units lj
		atom_style atomic
		lattice fcc 0.8442
		region box block 0 8 0 8 0 8
		create_box 1 box
		create_atoms 1 box
		mass 1 1.0
		velocity all create 1.44 87287 loop geom
		pair_style lj/cut 2.5
		pair_coeff 1 1 1.0 1.0 2.5
		neighbor 0.3 bin
		neigh_modify delay 0 every 20 check no
		fix 1 all nve
		thermo 20
		thermo_modify format float %.15g
		run 100
		write_data final.data
	END
}
afterwards() { sed -i -E "$times" log.lammps; }
times='/^(Loop time|Performance|[0-9.]+% CPU|  create_atoms CPU|Total wall time|(Pair|Neigh|Comm|Output|Modify|Other) +\|)/d'
mask=$times
both "lmp" /usr/bin/lmp -in in.lj
finish
